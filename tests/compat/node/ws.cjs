// npm's ws: what the browser's interface has, and fragments, pings and pongs.
const assert = require("node:assert");
const { once } = require("node:events");
const WebSocket = require("ws");
const { converse } = require("./conversation.js");

async function more(url) {
    const socket = new WebSocket(url);
    await once(socket, "open");
    const text = once(socket, "message");
    socket.send("frag", { fin: false });
    socket.send("men", { fin: false });
    socket.send("ted", { fin: true });
    assert.strictEqual((await text)[0].toString(), "fragmented");
    const pong = once(socket, "pong");
    socket.ping("x".repeat(125));
    assert.strictEqual((await pong)[0].length, 125);
    const closed = once(socket, "close");
    socket.close(4002, "bye");
    assert.strictEqual((await closed)[0], 4002);
}

more(process.argv[2])
    .then(() => converse(WebSocket, process.argv[2]))
    .then((word) => { console.log(word); process.exit(0); });
