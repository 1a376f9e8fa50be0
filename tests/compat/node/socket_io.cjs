// socket.io-client: acknowledgements over the given transports, with the upgrade where there are both, and coming back.
const assert = require("node:assert");
const { once } = require("node:events");
const { io } = require("socket.io-client");

async function converse(url, transports) {
    for (let times = 0; times < 2; times++) {
        const socket = io(url, { transports, forceNew: true, reconnection: false });
        await once(socket, "connect");
        if (transports.length > 1 && socket.io.engine.transport.name !== "websocket") {
            await once(socket.io.engine, "upgrade");
        }
        for (const data of ["Grüße", { a: [1, null] }, "x".repeat(500000)]) {
            assert.deepStrictEqual(await socket.timeout(15000).emitWithAck("echo", data), data);
        }
        const binary = Buffer.from([0, 1, 254, 255]);
        assert.ok(binary.equals(Buffer.from(await socket.timeout(15000).emitWithAck("echo", binary))));
        assert.strictEqual(await socket.timeout(15000).emitWithAck("transport"), transports.at(-1));
        socket.disconnect();
    }
}

converse(process.argv[2], process.argv[3].split(",")).then(() => { console.log("done"); process.exit(0); });
