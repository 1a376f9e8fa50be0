import { addLine, Connection, element } from "./shared/socket.js";

const id = (name) => document.getElementById(name);

const connection = new Connection("ws", {
  message(event) {
    if ("redis" in event) {
      id("redis").textContent = event.redis ? "" : "Redis is away: messages may be missing";
      id("redis").className = event.redis ? "" : "bad";
    }
    if (event["you are on"]) id("worker").textContent = event["you are on"];
    if (event.refused) id("text").value ||= event.refused; // to be sent again
    if (event.text) {
      const line = element("li", event.text);
      const here = event.by === id("worker").textContent;
      line.append(" ", element("small", `by ${event.by}, ${here ? "as this page" : "another one"}`));
      addLine(id("said"), line);
    }
  },
});

id("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (connection.send(id("text").value)) id("text").value = "";
});
