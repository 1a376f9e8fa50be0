import { Connection, element } from "./shared/socket.js";

const id = (name) => document.getElementById(name);
const shown = new Map(); // symbol: {quote, price: its element, spread: another}
let received = 0, skipped = 0, newest = null, age = 0;

function add(symbol) {
  const price = element("div", "", { className: "price" }), spread = element("small");
  const sheet = element("section", element("b", symbol), { className: "sheet" });
  sheet.append(price, spread);
  id("prices").append(sheet);
  shown.set(symbol, { price, spread, quote: null });
}

/** Takes a quote, and time, if this tab is to be slow; what is seen is drawn once a frame. */
function take(quote) {
  received++;
  newest = quote;
  if (!shown.has(quote.symbol)) add(quote.symbol);
  const line = shown.get(quote.symbol);
  if (line.quote) skipped += Math.max(0, quote.number - line.quote.number - 1);
  line.before = line.quote;
  line.quote = quote;
  const until = performance.now() + (id("slow").checked ? 10 : 0);
  while (performance.now() < until);
}

function draw() {
  for (const { quote, before, price, spread } of shown.values()) {
    if (!quote) continue;
    price.textContent = quote.price.toFixed(2);
    price.classList.toggle("up", quote.price > before?.price);
    price.classList.toggle("down", quote.price < before?.price);
    spread.textContent = `${quote.book[0].toFixed(2)} to ${quote.book[quote.book.length / 2].toFixed(2)}`;
  }
  if (newest) age = Math.max(0, Date.now() / 1000 - newest.at);
  id("age").textContent = newest ? `${age.toFixed(2)} s` : "–";
  requestAnimationFrame(draw);
}

new Connection("ws", {
  open: () => shown.forEach((line) => (line.quote = null)), // a server that was restarted counts anew
  message: take,
});
// The server keeps one quote of each symbol. What else this tab has yet to read is on its way, and comes in order: as many
// quotes as it reads in the time that the newest is old. A browser takes in what a page does not read, and does not tell.
setInterval(() => {
  id("waiting").textContent = Math.round(received * age);
  id("rate").textContent = received;
  id("skipped").textContent = skipped;
  received = 0;
}, 1000);
requestAnimationFrame(draw);
