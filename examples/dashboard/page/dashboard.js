import { Plot } from "./plot.js";
import { Connection } from "./shared/socket.js";

const id = (name) => document.getElementById(name);
const percent = (value) => `${Math.round(value)} %`;
const milliseconds = (value) => `${value < 10 ? +value.toFixed(1) : Math.round(value)} ms`;

function bytes(value) {
  const power = Math.min(3, Math.floor(Math.log(Math.max(value, 1)) / Math.log(1000)));
  return `${+(value / 1000 ** power).toPrecision(3)} ${["B", "kB", "MB", "GB"][power]}`;
}

const plots = [
  new Plot(id("load"), "Processor and memory", { lines: { cpu: "CPU", memory: "memory" }, write: percent, least: 100 }),
  new Plot(id("traffic"), "Network, a second", { lines: { received: "received", sent: "sent" }, write: bytes, least: 1000 }),
  new Plot(id("late"), "Delay of the event loop", { lines: { late: "delay" }, write: milliseconds, least: 4 }),
];
let shown = 0, skipped = 0, last = null, every = 1;

const connection = new Connection("ws", {
  open() {
    last = null;
    connection.send(id("every").value);
  },
  message({ history, ...now }) {
    if (history) return plots.forEach((plot) => plot.reset(history)); // after a reconnect there is no gap
    plots.forEach((plot) => plot.add(now));
    if (last !== null) skipped += Math.max(0, now.number - last - every);
    last = now.number;
    every = Number(id("every").value);
    id("viewers").textContent = now.viewers;
    id("shown").textContent = ++shown;
    id("skipped").textContent = skipped;
  },
});
id("every").addEventListener("change", () => connection.send(id("every").value));
