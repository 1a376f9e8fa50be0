// A WebSocket that comes back, for pages: it shows its state in the element #connection.

const FIRST_PAUSE = 400, LONGEST_PAUSE = 20_000; // ms
const STEADY = 5_000; // ms: who was connected for less than this goes on with longer pauses

// After these the same again would fail again: the client is wrong, not the moment.
const FINAL = new Set([1002, 1003, 1007, 1008, 1009, 1010]);

/** Where `path` beside this page is, as ws: or wss:. */
export function address(path) {
  const url = new URL(path, document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

/** A pause before attempt number `attempt` (from 0): random below a bound that doubles, so that clients spread out. */
export const pause = (attempt) => 50 + Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** attempt);

/**
 * Keeps a connection to `path` open until close() or a final close code. `on.open()`, `on.message(data)` with JSON
 * parsed and binary as ArrayBuffer, `on.close(code, reason)`, which may return false: do not come back.
 */
export class Connection {
  #path; #on; #protocols; #socket; #timer; #attempt = 0; #ended = false;
  #shown = document.getElementById("connection");

  constructor(path, on = {}, protocols = []) {
    this.#path = path;
    this.#on = on;
    this.#protocols = protocols;
    addEventListener("online", this.#now);
    this.#open();
  }

  get isOpen() { return this.#socket.readyState === WebSocket.OPEN; }

  /** Bytes that the browser has not handed to the network yet. */
  get buffered() { return this.#socket.bufferedAmount; }

  /** Send a string, bytes or an object as JSON; false where there is no connection: then it is not sent later either. */
  send(data) {
    if (!this.isOpen) return false;
    const raw = typeof data === "string" || data instanceof ArrayBuffer || ArrayBuffer.isView(data) || data instanceof Blob;
    this.#socket.send(raw ? data : JSON.stringify(data));
    return true;
  }

  /** Close, and stay closed. */
  close(code = 1000, reason = "") {
    this.#ended = true;
    clearTimeout(this.#timer);
    removeEventListener("online", this.#now);
    this.#socket.close(code, reason);
    this.#show("ended", "Closed");
  }

  /** Lose the connection, to see how it comes back. */
  interrupt() {
    this.#socket.close(4000, "interrupted");
  }

  #now = () => {
    if (this.#socket.readyState !== WebSocket.CLOSED || this.#ended) return;
    clearTimeout(this.#timer);
    this.#open();
  };

  #open() {
    let since;
    const socket = (this.#socket = new WebSocket(address(this.#path), this.#protocols));
    socket.binaryType = "arraybuffer";
    this.#show("connecting", "Connecting");
    socket.onopen = () => {
      since = performance.now();
      this.#show("open", "Connected");
      this.#on.open?.();
    };
    socket.onmessage = ({ data }) => this.#on.message?.(typeof data === "string" ? JSON.parse(data) : data);
    socket.onclose = ({ code, reason }) => {
      if (this.#ended) return;
      const why = reason ? `${code}: ${reason}` : `${code}`;
      if (this.#on.close?.(code, reason) === false || FINAL.has(code)) {
        this.close();
        return this.#show("closed", `Closed (${why})`);
      }
      if (performance.now() - since > STEADY) this.#attempt = 0;
      const ms = pause(this.#attempt++);
      this.#timer = setTimeout(() => this.#open(), ms);
      this.#show("closed", `Lost (${why}); again in ${(ms / 1000).toFixed(1)} s`);
    };
  }

  #show(state, text) {
    if (!this.#shown) return;
    this.#shown.dataset.state = state;
    this.#shown.textContent = text;
  }
}

/** A new element with text, never HTML: what people wrote stays what they wrote. */
export function element(name, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(text);
  return made;
}

/** Add a line to a list that keeps the last `most`, and scroll to it where the reader was at the end. */
export function addLine(list, line, most = 200) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(line);
  while (list.children.length > most) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}
