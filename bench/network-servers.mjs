// @ts-check
/**
 * What guests talk to in bench/network.ts, in a process of its own, forked: HTTP (`/bytes/N`), a server that
 * counts what it is sent, and one that measures how soon a line comes back. All on 127.0.0.1.
 */
import { createHash } from "node:crypto";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { WebSocketServer } from "ws";
import { answerBytes } from "../test/relay/bytes-server.mjs";

const tell = (/** @type {object} */ message) => process.send?.(message);

const http = createHttpServer(answerBytes);

/** Tells the time from the first byte to the last one that was announced: v86's own client never ends an upload. */
let expected = 0;
let isHashed = false;
let isStopped = false;
const sink = createServer({ allowHalfOpen: true }, (socket) => {
  let bytes = 0;
  let startedAt = 0;
  const hash = isHashed ? createHash("md5") : null;
  socket.on("data", (chunk) => {
    hash?.update(chunk);
    if (bytes === 0) startedAt = performance.now();
    bytes += chunk.length;
    if (bytes < expected || bytes - chunk.length >= expected) return;
    tell({ uploaded: bytes, ms: performance.now() - startedAt, md5: hash?.digest("hex") });
    if (isStopped) socket.resetAndDestroy();
  });
  socket.on("end", () => socket.end("done\n"));
  socket.on("error", () => {});
});

/** The other end gives each line back. */
let rounds = 0;
const bell = createServer({ noDelay: true }, (socket) => {
  /** @type {number[]} */
  const times = [];
  let sentAt = 0;
  const ring = () => {
    sentAt = performance.now();
    socket.write("GET / HTTP/1.1\r\n");
  };
  socket.on("data", () => {
    times.push(performance.now() - sentAt);
    if (times.length < rounds) ring();
    else {
      socket.end();
      tell({ times });
    }
  });
  socket.on("error", () => {});
  ring();
});

/** Gives messages back. */
const echo = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
echo.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));

process.on("message", (/** @type {{expect?: number, hash?: boolean, stop?: boolean, rounds?: number}} */ message) => {
  expected = message.expect ?? expected;
  isHashed = message.hash ?? isHashed;
  isStopped = message.stop ?? isStopped;
  rounds = message.rounds ?? rounds;
});
process.on("disconnect", () => process.exit());

/** @type {number[]} */
const ports = [];
for (const server of [http, sink, bell]) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  ports.push(/** @type {import("node:net").AddressInfo} */ (server.address()).port);
}
const { port } = /** @type {import("node:net").AddressInfo} */ (echo.address());
tell({ http: ports[0], sink: ports[1], bell: ports[2], echo: port });
