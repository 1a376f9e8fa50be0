// A WebSocket that comes back: it reconnects with growing pauses and says what happened, close code included.

const MEANING = {
  1000: "normal closure",
  1001: "going away",
  1002: "protocol error",
  1003: "kind of data not accepted",
  1005: "closed without a code",
  1006: "connection lost, or no server there",
  1007: "text is not UTF-8",
  1008: "policy violation",
  1009: "message too big",
  1011: "error in the server",
  1012: "server is restarting",
  1013: "server is overloaded, try later",
};
const FIRST_PAUSE = 250; // ms
const LONGEST_PAUSE = 5000; // ms

/** A close code in words. */
export const meaning = (code) => MEANING[code] ?? (code >= 3000 && code < 5000 ? "code of the application" : "unknown code");

/** The WebSocket address of a path beside this page, whatever the page is mounted under. */
export function address(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

/** Events: "open", "message" (detail: the data), "close" (detail: {code, reason, clean, pause}; pause in ms). */
export class Link extends EventTarget {
  constructor(path) {
    super();
    this.path = path;
    this.socket = null;
    this.failures = 0;
    this.timer = 0;
    this.connect();
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Connect now, if it is not connected or about to be. */
  connect() {
    clearTimeout(this.timer);
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    const socket = (this.socket = new WebSocket(address(this.path)));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.failures = 0;
      this.dispatchEvent(new Event("open"));
    };
    socket.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("message", { detail: data }));
    socket.onclose = ({ code, reason, wasClean }) => {
      const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.failures++);
      const pause = longest * (0.5 + Math.random() / 2); // so that not every client of a server comes back at once
      this.timer = setTimeout(() => this.connect(), pause);
      this.dispatchEvent(new CustomEvent("close", { detail: { code, reason, clean: wasClean, pause } }));
    };
  }

  /** Send, if open; says whether it did. */
  send(data) {
    if (this.isOpen) this.socket.send(data);
    return this.isOpen;
  }

  /** Close with 1000 and, like after any other close, come back. */
  drop() {
    this.socket?.close(1000, "asked for on the page");
  }
}
