// A small client for GraphQL: queries and mutations over HTTP, subscriptions over a WebSocket by graphql-transport-ws.

import { Connection } from "./shared/socket.js";

/** The data of a query or mutation; throws an Error with the server's words. */
export async function ask(query, variables = {}) {
  const response = await fetch("graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Error(errors.map(({ message }) => message).join("; "));
  return data;
}

/** Subscriptions over one connection, each taken up again when the connection was lost. */
export class Subscriptions {
  #wanted = new Map(); // id: {payload, next, error}
  #connection;
  #acknowledged = false;
  #last = 0;

  constructor() {
    this.#connection = new Connection(
      "graphql",
      {
        open: () => this.#connection.send({ type: "connection_init" }),
        message: (message) => this.#receive(message),
        close: (code) => {
          this.#acknowledged = false;
          return code < 4400 || code > 4499; // those say that this client is wrong
        },
      },
      ["graphql-transport-ws"],
    );
  }

  /** Call `next(data)` for each value, `error(errors)` if the server refuses. Returns a function that ends it. */
  subscribe(query, variables, next, error = console.error) {
    const id = String(++this.#last);
    this.#wanted.set(id, { payload: { query, variables }, next, error });
    if (this.#acknowledged) this.#begin(id);
    return () => {
      if (this.#wanted.delete(id) && this.#acknowledged) this.#connection.send({ type: "complete", id });
    };
  }

  #begin(id) {
    this.#connection.send({ type: "subscribe", id, payload: this.#wanted.get(id).payload });
  }

  #receive({ type, id, payload }) {
    const wanted = this.#wanted.get(id);
    if (type === "connection_ack") {
      this.#acknowledged = true;
      for (const each of this.#wanted.keys()) this.#begin(each);
    } else if (type === "ping") this.#connection.send({ type: "pong" });
    else if (type === "next" && !payload.errors) wanted?.next(payload.data);
    else if (type === "next" || type === "error") wanted?.error(payload.errors ?? payload);
    if (type === "complete" || type === "error") this.#wanted.delete(id);
  }
}
