// @ts-check
/** @mercuryworkshop/wisp-js as a server on 127.0.0.1, forked by bench/network.ts. */
import { createServer } from "node:http";
import { Socket } from "node:net";
import { logging, server as wisp } from "@mercuryworkshop/wisp-js/server";

logging.set_level(logging.NONE);
Object.assign(wisp.options, { allow_loopback_ips: true, allow_private_ips: true });

// What our relay calls 10.0.2.2 is this computer here, too.
const { connect } = Socket.prototype;
Socket.prototype.connect = /** @type {typeof connect} */ (
  function (/** @type {any} */ options, /** @type {any[]} */ ...rest) {
    if (options?.host === "10.0.2.2") options.host = "127.0.0.1";
    return connect.call(/** @type {any} */ (this), options, ...rest);
  }
);

const server = createServer();
server.on("upgrade", (request, socket, head) => wisp.routeRequest(request, /** @type {Socket} */ (socket), head));
process.on("message", () => {
  /** @type {{gc?: () => void}} */ (globalThis).gc?.();
  process.send?.({ resident: process.memoryUsage.rss() });
});
process.on("disconnect", () => process.exit());
server.listen(0, "127.0.0.1", () =>
  process.send?.({ port: /** @type {import("node:net").AddressInfo} */ (server.address()).port }),
);
