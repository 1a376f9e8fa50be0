// Drives Node's http2, and npm's `ws` on a stream of it, against the application of test_http2_clients.py over TLS, and
// prints what it saw as one JSON object.
// Usage: node http2_client.cjs https://host:port ca.pem
"use strict";
const { once } = require("node:events");
const { readFileSync } = require("node:fs");
const http2 = require("node:http2");
const WebSocket = require("ws");

const [url, ca] = [process.argv[2], readFileSync(process.argv[3])];
const seen = {};

async function request(session, headers, body) {
  const stream = session.request(headers);
  const responded = once(stream, "response");
  stream.end(body);
  const [head] = await responded;
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return { status: head[":status"], body: Buffer.concat(chunks) };
}

// An extended CONNECT (RFC 8441), whose stream carries the frames of `ws`.
async function connect(session, path) {
  const stream = session.request(
    { ":method": "CONNECT", ":protocol": "websocket", ":path": path, "sec-websocket-version": "13" },
    { endStream: false },
  );
  const [head] = await once(stream, "response");
  if (head[":status"] !== 200) throw new Error(`the answer is ${head[":status"]}`);
  const socket = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30_000 });
  socket._isServer = false; // what makes no request is taken for a server's side
  socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 0, skipUTF8Validation: false, allowSynchronousEvents: true });
  return { socket, stream };
}

async function main() {
  const session = http2.connect(url, { ca });
  session.on("error", (error) => (seen.error = String(error)));
  if (!session.remoteSettings.enableConnectProtocol) await once(session, "remoteSettings");
  seen.enableConnectProtocol = session.remoteSettings.enableConnectProtocol;

  seen.get = (await request(session, { ":path": "/" })).body.toString();
  const posted = await request(session, { ":method": "POST", ":path": "/" }, Buffer.alloc(1_000_000));
  seen.post = posted.body.toString();
  seen.big = (await request(session, { ":path": "/big" })).body.length;
  const many = await Promise.all(Array.from({ length: 50 }, () => request(session, { ":path": "/" })));
  seen.many = many.filter((each) => each.status === 200 && each.body.toString() === "2 0").length;

  const connected = await Promise.all(Array.from({ length: 20 }, () => connect(session, "/")));
  const mebibyte = "0123456789abcdef".repeat(1 << 16);
  let echoed = 0;
  await Promise.all(
    connected.map(async ({ socket }, number) => {
      const text = number ? `hello ${number}` : mebibyte;
      socket.send(text);
      const [message] = await once(socket, "message");
      echoed += message.toString() === text;
    }),
  );
  seen.echoed = echoed;

  const [first, second] = connected;
  const pong = once(first.socket, "pong");
  first.socket.ping("here");
  seen.pong = (await pong)[0].toString();
  const closed = once(first.socket, "close");
  first.socket.close(4321, "node is done");
  const [code, reason] = await closed;
  seen.closed = [code, reason.toString()];
  second.stream.close(http2.constants.NGHTTP2_CANCEL); // costs no other
  const last = connected[19].socket;
  last.send("still here");
  seen.other = (await once(last, "message"))[0].toString();

  for (const { socket } of connected.slice(2)) socket.terminate();
  const ended = once(session, "close");
  session.close();
  session.destroy();
  await ended;
}

main().then(
  () => console.log(JSON.stringify(seen)),
  (error) => {
    console.error(error, seen);
    process.exit(1);
  },
);
