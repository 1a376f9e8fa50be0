// The page: an echo, a latency plot, a run and a room above two connections (link.js); plot.js draws, run.js measures.

import { Link, address, meaning } from "./link.js";
import { LatencyPlot, RatePlot, short } from "./plot.js";

const PROBE_EVERY = 100; // ms
const LATENCY_SECONDS = 30;
const LOG_LENGTH = 100; // lines kept in each list
const $ = (id) => document.getElementById(id);

const echo = new Link("ws/echo");
const room = new Link("ws/room");

/** An element with text and children; never HTML, since other people's words go through here. */
function element(tag, { text, className } = {}, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** Add to a list, keep it short, and stay at its end unless the reader has scrolled away from it. */
function log(list, line, { newest = "last" } = {}) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list[newest === "last" ? "append" : "prepend"](line);
  if (list.children.length > LOG_LENGTH) (newest === "last" ? list.firstChild : list.lastChild).remove();
  if (newest === "last" && atEnd) list.scrollTop = list.scrollHeight;
}

// ---- connection: state, close codes, what the server says of itself

function note(link, words, className) {
  const time = element("time", { text: new Date().toLocaleTimeString([], { hour12: false }) });
  log($("events"), element("li", {}, time, element("code", { text: `/${link.path}` }), element("span", { text: words, className })), {
    newest: "first",
  });
}

function showState(state, words) {
  $("status").dataset.state = state;
  $("status-text").textContent = words;
  $("retry").hidden = state !== "closed";
}

let lastClose; // of any connection: a code of the server (1012) tells more than the 1006 of the attempts after it

for (const link of [echo, room]) {
  link.addEventListener("open", () => {
    note(link, "open");
    if (!echo.isOpen || !room.isOpen) return;
    lastClose = undefined;
    showState("open", "Connected");
    showFacts();
  });
  link.addEventListener("close", ({ detail: { code, reason, pause } }) => {
    if (!lastClose || code !== 1006) lastClose = code;
    showState("closed", `Closed with ${lastClose}: ${meaning(lastClose)}`);
    $("status").dataset.code = lastClose;
    const said = reason ? `, “${reason}”` : "";
    note(link, `closed with ${code} (${meaning(code)}${said}); next try in ${(pause / 1000).toFixed(1)} s`, "closed");
  });
}
const reconnect = () => [echo, room].forEach((link) => link.connect());
$("retry").addEventListener("click", reconnect);
addEventListener("online", reconnect);
$("drop").addEventListener("click", () => [echo, room].forEach((link) => link.drop()));

const LABELS = { python: "Python", http: "sockets by" };
const facts = {};

async function showFacts(more = {}) {
  Object.assign(facts, more, { compression: echo.socket.extensions ? "permessage-deflate" : "off" });
  try {
    const { headers } = await fetch("icon.svg", { method: "HEAD", cache: "no-store" });
    facts.server = headers.get("server");
    if (facts.server === "fastws") facts.server += ` ${facts.version ?? ""}`;
  } catch {
    // the server went away again; the next connection asks once more
  }
  const order = ["server", "loop", "python", "http", "compression"];
  const shown = order.filter((name) => facts[name]).map((name) => {
    return element("div", {}, element("dt", { text: LABELS[name] ?? name }), element("dd", { text: facts[name] }));
  });
  $("facts").replaceChildren(...shown);
}

// ---- latency: binary messages on the echo connection are probes; text is what the visitor sent

const latency = new LatencyPlot($("latency-plot"), LATENCY_SECONDS);
let probeSentAt = 0; // 0: none is on its way
let paused = false;

setInterval(() => {
  if (paused || probeSentAt || !echo.isOpen) return;
  const now = performance.now();
  if (echo.send(new Float64Array([now]))) probeSentAt = now;
}, PROBE_EVERY);

setInterval(() => {
  const summary = latency.summary();
  if (!summary || paused) return;
  for (const [name, value] of Object.entries(summary)) $(`rtt-${name}`).textContent = short(value);
  $("rtt-last").textContent = short(latency.points.at(-1).took);
}, 250);

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  $("pause").textContent = paused ? "Resume" : "Pause";
});

// ---- echo

const waiting = []; // {text, at} of the echoes that are still to come, in order

$("echo-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("echo-text").value;
  const at = performance.now();
  if (!echo.send(text)) return;
  waiting.push({ text, at });
  $("echo-text").value = "";
});

echo.addEventListener("message", ({ detail }) => {
  const now = performance.now();
  if (detail instanceof ArrayBuffer) {
    if (!paused) latency.add(now, now - probeSentAt);
    probeSentAt = 0;
    return;
  }
  const { at } = waiting.shift();
  const took = element("span", { text: `${short(now - at)} ms`, className: "took" });
  log($("echo-log"), element("li", {}, element("span", { text: detail }), took), { newest: "first" });
});

echo.addEventListener("close", () => {
  waiting.length = 0;
  probeSentAt = 0;
});

// ---- run

const rates = new RatePlot($("run-plot"));
let worker = null;
let band = null;

const bytes = (size) => (size < 1024 ? `${size} B` : `${size / 1024} KiB`);

function endRun() {
  worker.terminate();
  worker = null;
  if (band) band[1] = performance.now();
  $("run-start").textContent = "Run";
}

function showRun(event) {
  if (event.kind === "tick") {
    rates.add(event.at, event.rate);
    $("run-rate").textContent = Math.round(event.rate).toLocaleString("en");
    return;
  }
  endRun();
  if (event.kind === "failed") {
    $("run-detail").textContent = `The connection closed with ${event.code}: ${meaning(event.code)}.`;
    return;
  }
  const { size, window, rate, received, seconds, p50, p99 } = event;
  const megabytes = (rate * size) / 1e6;
  $("run-rate").textContent = Math.round(rate).toLocaleString("en");
  $("run-rate").dataset.final = rate;
  $("run-detail").textContent =
    `${received.toLocaleString("en")} messages of ${bytes(size)} in ${seconds.toFixed(1)} s, ${short(megabytes)} MB/s each way.`;
  $("run-plot").setAttribute("aria-label", `Messages per second during the run, ${Math.round(rate)} on average`);
  rates.average = rate;
  rates.redraw();
  const cells = [bytes(size), window, Math.round(rate).toLocaleString("en"), short(megabytes), `${short(p50)} ms`, `${short(p99)} ms`];
  const rows = $("runs").tBodies[0];
  rows.prepend(element("tr", {}, ...cells.map((text) => element("td", { text }))));
  if (rows.rows.length > 5) rows.lastChild.remove();
  $("runs").parentElement.hidden = false;
}

$("run-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (worker) {
    endRun();
    $("run-detail").textContent = "Stopped.";
    return;
  }
  const [size, window, seconds] = ["size", "window", "seconds"].map((name) => Number($(`run-${name}`).value));
  rates.clear(seconds);
  delete $("run-rate").dataset.final;
  $("run-detail").textContent = "Running.";
  $("run-start").textContent = "Stop";
  latency.bands.push((band = [performance.now(), Infinity]));
  worker = new Worker("run.js");
  worker.onmessage = ({ data }) => showRun(data);
  worker.postMessage({ url: address("ws/echo"), size, window, seconds });
});

// ---- room

const FIRST = ["Quick", "Calm", "Bright", "Brave", "Gentle", "Lucky", "Merry", "Wise", "Bold", "Kind"];
const SECOND = ["Otter", "Heron", "Lynx", "Wren", "Marten", "Tern", "Fox", "Seal", "Owl", "Hare"];
const any = (list) => list[Math.floor(Math.random() * list.length)];
const hue = (name) => [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);

$("room-name").value = sessionStorage.getItem("name") ?? `${any(FIRST)} ${any(SECOND)}`;
$("room-name").addEventListener("change", () => sessionStorage.setItem("name", $("room-name").value));
let me = null;

function showSaid({ from, name, text }) {
  const line = element("li", { className: from === me ? "mine" : "" });
  const who = element("span", { text: name, className: "who" });
  who.style.setProperty("--hue", hue(name)); // through the object model, which the policy allows
  line.append(who, element("span", { text }));
  log($("room-log"), line);
}

const handlers = {
  hello({ you, history, facts }) {
    $("room-log").replaceChildren();
    me = null; // the numbers in the history may be those of an earlier server
    history.forEach(showSaid);
    me = you;
    showFacts(facts);
  },
  presence({ count }) {
    $("presence").textContent = count;
  },
  message: showSaid,
};
room.addEventListener("message", ({ detail }) => {
  const message = JSON.parse(detail);
  handlers[message.kind](message);
});
room.addEventListener("close", () => ($("presence").textContent = "–"));

$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (room.send(JSON.stringify({ name: $("room-name").value, text: $("room-text").value }))) $("room-text").value = "";
});
