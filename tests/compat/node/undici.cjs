// npm's undici, which is also what Node.js has as WebSocket.
const { WebSocket } = require("undici");
const { converse } = require("./conversation.js");

converse(WebSocket, process.argv[2]).then((word) => { console.log(word); process.exit(0); });
