// @ts-check
/** Servers for a test's namespace, on all its addresses. TCP 80: HTTP; UDP 7: echo. They tell at which address they were met. */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import { answerBytes } from "./bytes-server.mjs";

/** @type {string[]} */
const hits = [];

const server = createServer({ keepAlive: true }, (request, response) => {
  if (request.url === "/hits") return response.end(JSON.stringify(hits));
  if (request.method === "POST") {
    const hash = createHash("sha256");
    request.on("data", (chunk) => hash.update(chunk));
    request.on("end", () => response.end(hash.digest("hex")));
    return;
  }
  answerBytes(request, response);
});
server.on("connection", (socket) => {
  const address = (socket.localAddress ?? "").replace("::ffff:", "");
  if (!address.startsWith("127.") || socket.remoteAddress !== socket.localAddress) hits.push(address);
});

const echo = createSocket("udp4", (message, from) => echo.send(message, from.port, from.address));
echo.bind(7, "0.0.0.0", () => server.listen(80, "0.0.0.0", () => console.log("ready")));
