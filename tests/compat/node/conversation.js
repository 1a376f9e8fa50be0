// What a script with the browser's WebSocket says to /echo: text, binary, 1 MiB, a close from either side, twice.
// Shared by undici and Chromium's page, which have the same interface.

async function converse(WebSocket, url) {
    const open = (protocols) => new Promise((resolve, reject) => {
        const socket = new WebSocket(url, protocols);
        socket.binaryType = "arraybuffer";
        socket.onopen = () => resolve(socket);
        socket.onerror = () => reject(new Error("cannot connect"));
    });
    const next = (socket) => new Promise((resolve) => { socket.onmessage = (event) => resolve(event.data); });
    const closed = (socket) => new Promise((resolve) => { socket.onclose = resolve; });
    const check = (condition, what) => { if (!condition) throw new Error(what); };

    const socket = await open(["other", "chat"]);
    check(socket.protocol === "chat", "subprotocol");
    check(socket.extensions.startsWith("permessage-deflate"), "compression is not negotiated");
    for (const text of ["Grüße, 世界", "", "0123456789abcdef".repeat(65536)]) {
        const answer = next(socket);
        socket.send(text);
        check(await answer === text, "text of " + text.length);
    }
    const large = new Uint8Array(1048576).map((_, i) => i * 7);
    for (const data of [new Uint8Array([0, 1, 254, 255]), new Uint8Array(0), large]) {
        const answer = next(socket);
        socket.send(data);
        const got = new Uint8Array(await answer);
        check(got.length === data.length && got.every((byte, i) => byte === data[i]), "binary of " + data.length);
    }
    let end = closed(socket);
    socket.close(4002, "bye");
    let event = await end;
    check(event.wasClean && event.code === 4002, "our close came back as " + event.code);

    const again = await open();
    end = closed(again);
    again.send("close");
    event = await end;
    check(event.wasClean && event.code === 4001 && event.reason === "asked to", "its close is " + event.code);
    return "done";
}

if (typeof module !== "undefined") module.exports = { converse };
