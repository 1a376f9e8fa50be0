// Drives npm's `ws` against the application of test_clients.py and prints what it saw as one JSON object.
// Usage: node ws_client.cjs ws://host:port true|false   (the second: offer permessage-deflate)
"use strict";
const { once } = require("node:events");
const WebSocket = require("ws");

const [url, deflate] = [process.argv[2], process.argv[3] === "true"];
const options = { perMessageDeflate: deflate ? { threshold: 0 } : false };
const seen = {};

async function main() {
  let socket = new WebSocket(`${url}/echo`, ["other", "chat"], options);
  const upgraded = once(socket, "upgrade");
  await once(socket, "open");
  const [response] = await upgraded;
  seen.protocol = socket.protocol;
  seen.extensions = socket.extensions;
  seen.header = response.headers["x-served-by"];

  const roundTrip = async (data, options) => {
    socket.send(data, options);
    const [message, isBinary] = await once(socket, "message");
    return { message, isBinary };
  };

  let back = await roundTrip("Grüße, 世界");
  seen.text = back.isBinary ? null : back.message.toString();
  back = await roundTrip(Buffer.from([0, 1, 254, 255]));
  seen.binary = back.isBinary ? back.message.toString("hex") : null;
  const mebibyte = Buffer.alloc(1 << 20, "0123456789abcdef");
  back = await roundTrip(mebibyte);
  seen.mebibyte = back.isBinary && back.message.equals(mebibyte);
  seen.empty = (await roundTrip("")).message.length;

  socket.send("frag", { fin: false });
  socket.ping("between fragments");
  const pong = once(socket, "pong");
  socket.send("men", { fin: false });
  socket.send("ts", { fin: true });
  const [fragments] = await once(socket, "message");
  seen.fragments = fragments.toString();
  seen.pong = (await pong)[0].toString();

  const closed = once(socket, "close");
  socket.close(4321, "node is done");
  const [code, reason] = await closed;
  seen.echoedClose = [code, reason.toString()];

  socket = new WebSocket(`${url}/echo`, options); // and once more, to be closed by the server
  await once(socket, "open");
  socket.send("close");
  const [serverCode, serverReason] = await once(socket, "close");
  seen.serverClose = [serverCode, serverReason.toString()];

  socket = new WebSocket(`${url}/deny`, options);
  const [, denial] = await once(socket, "unexpected-response");
  let body = "";
  for await (const chunk of denial) body += chunk;
  seen.denial = [denial.statusCode, denial.headers["x-reason"], body];
}

main().then(
  () => console.log(JSON.stringify(seen)),
  (error) => {
    console.error(error, seen);
    process.exit(1);
  },
);
