/** A link between browser and server: what comes through it comes late, and not faster than its bandwidth. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface SlowLink {
  port: number;
  /** Bytes that went to the browser since the last call. */
  takeBytes(): number;
  close(): Promise<void>;
}

/**
 * @param bytesPerSecond towards the browser, all connections together
 * @param delayMs one way
 */
export async function startSlowLink(to: number, bytesPerSecond: number, delayMs: number): Promise<SlowLink> {
  let bytes = 0;
  /** When the line has sent what it has been given. */
  let freeAt = 0;
  const sockets = new Set<Socket>();
  const server = createServer((browser) => {
    const site = connect(to, "127.0.0.1");
    for (const socket of [browser, site]) {
      sockets.add(socket.setNoDelay().on("error", () => {}));
      socket.on("close", () => {
        sockets.delete(socket);
        browser.destroy();
        site.destroy();
      });
    }
    browser.on("data", (piece) => setTimeout(() => site.write(piece), delayMs));
    site.on("data", (piece) => {
      bytes += piece.length;
      const now = performance.now();
      freeAt = Math.max(freeAt, now) + (1000 * piece.length) / bytesPerSecond;
      setTimeout(() => browser.write(piece), freeAt - now + delayMs);
      // No more than a line's own buffers hold waits for it.
      site.pause();
      setTimeout(() => site.resume(), freeAt - now);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    takeBytes() {
      const taken = bytes;
      bytes = 0;
      return taken;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
