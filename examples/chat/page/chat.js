import { addLine, Connection, element } from "./shared/socket.js";

const id = (name) => document.getElementById(name);
let connection, here, server, self;

function show({ name, text, at, server }) {
  const line = element("li", element("b", name)), time = new Date(at * 1000).toLocaleTimeString();
  line.append(text, " ", element("small", server ? `${time}, by ${server}` : time));
  addLine(id("said"), line);
}

const note = (words) => addLine(id("said"), element("li", words, { className: "note" }));

function count(number) {
  here = number;
  id("here").textContent = `${here} here` + (server ? `; this page is on ${server}` : "");
}

/** Somebody has joined or left, as the presence topic of with_topics.py tells it: itself, too, which is counted. */
function presence({ event, who }) {
  note(`${who} ${event === "join" ? "joined" : "left"}`);
  if (event === "join" && who === self) self = null;
  else if (here !== undefined) count(here + (event === "join" ? 1 : -1));
}

const handlers = {
  open() {
    here = undefined;
    self = id("name").value.trim();
  },
  message(event) {
    if (event.type === "said") show(event);
    else if (event.type === "missed") note(`${event.count} messages were dropped: this page read too slowly`);
    else if (event.type === "hello") {
      id("said").replaceChildren(); // after a reconnect too: the history has what was said meanwhile
      event.history.forEach(show);
      server = event.server;
      if (server) count(event.here);
    } else if (event.event) presence(event);
    else {
      note(`${event.name} ${event.type}`);
      count(event.here);
    }
  },
};

function enter() {
  connection?.close(1000, "another room");
  const query = new URLSearchParams({ room: id("room").value.trim(), name: id("name").value.trim() });
  history.replaceState(null, "", `?${query}`); // so that a reload comes back to the room
  connection = new Connection(`ws?${query}`, handlers);
  id("text").focus();
}

id("join").addEventListener("submit", (event) => {
  event.preventDefault();
  enter();
});
id("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (connection?.send(id("text").value)) id("text").value = ""; // else it stays there, to be sent again
});

const asked = new URLSearchParams(location.search);
id("room").value = asked.get("room") ?? id("room").value;
id("name").value = asked.get("name") ?? "";
if (id("name").value) enter();
