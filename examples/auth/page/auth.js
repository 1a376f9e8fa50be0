import { addLine, Connection, element } from "./shared/socket.js";

const id = (name) => document.getElementById(name);
const post = (path, body) => fetch(path, { method: "POST", body });
let connection, ends;

function outside(why = "") {
  connection?.close();
  id("inside").hidden = true;
  id("login").hidden = false;
  id("why").textContent = why;
}

/** Connect as whoever the cookie is, or show the form: a page is not told with which status a handshake was refused. */
async function enter() {
  const { user } = await (await fetch("who")).json();
  if (!user) return outside();
  id("login").hidden = true;
  id("inside").hidden = false;
  let opened = false;
  connection = new Connection(
    "ws",
    {
      open: () => (opened = true),
      message({ said, ...session }) {
        if (said !== undefined) addLine(id("said"), element("li", said));
        if (session.user) id("user").textContent = session.user;
        ends = session.ends ?? ends;
      },
      close(code, reason) {
        if (code === 4401) {
          outside(`You were logged out: ${reason}.`);
          return false;
        }
        if (!opened) fetch("who").then((response) => response.json()).then(({ user }) => user ?? outside("Your session is over."), () => {});
        opened = false;
      },
    },
    ["example.v1"],
  );
}

id("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await post("login", new URLSearchParams(new FormData(id("login"))));
  if (!response.ok) return outside(await response.text());
  id("login").reset();
  await enter();
});
id("logout").addEventListener("click", () => post("logout"));
id("prolong").addEventListener("click", async () => {
  const { ticket } = await (await post("ticket")).json();
  connection.send(`ticket.${ticket}`);
});
id("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (connection.send(id("text").value)) id("text").value = "";
});
setInterval(() => {
  const seconds = Math.max(0, Math.round(ends - Date.now() / 1000));
  if (ends) id("left").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}, 250);

await enter();
