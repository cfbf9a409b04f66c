// @ts-check
/** Servers for a test's namespace, on all its addresses. TCP 80: HTTP; UDP 7: echo. They tell at which address they were met. */
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer } from "node:http";

/** @type {string[]} */
const hits = [];
const BLOCK = Buffer.alloc(65536, "0123456789abcdef");

const server = createServer({ keepAlive: true }, (request, response) => {
  if (request.url === "/hits") return response.end(JSON.stringify(hits));
  if (request.method === "POST") {
    const hash = createHash("sha256");
    request.on("data", (chunk) => hash.update(chunk));
    request.on("end", () => response.end(hash.digest("hex")));
    return;
  }
  const wanted = Number(/^\/bytes\/(\d+)$/.exec(request.url ?? "")?.[1] ?? 0);
  if (wanted === 0) return response.end("hello");
  response.writeHead(200, { "Content-Length": wanted });
  let left = wanted;
  const send = () => {
    while (left > 0) {
      const length = Math.min(left, BLOCK.length);
      left -= length;
      if (!response.write(BLOCK.subarray(0, length))) return void response.once("drain", send);
    }
    response.end();
  };
  send();
});
server.on("connection", (socket) => {
  const address = (socket.localAddress ?? "").replace("::ffff:", "");
  if (!address.startsWith("127.") || socket.remoteAddress !== socket.localAddress) hits.push(address);
});

const echo = createSocket("udp4", (message, from) => echo.send(message, from.port, from.address));
echo.bind(7, "0.0.0.0", () => server.listen(80, "0.0.0.0", () => console.log("ready")));
