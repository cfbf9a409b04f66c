/**
 * A client's websocket whose messages of one turn of the event loop leave in one system call, as a browser's do, which
 * writes on a thread of its own: in Node a call for each frame would cost the emulator a seventh of its time.
 */
import type { Duplex } from "node:stream";
import { WebSocket } from "ws";

export class GatheringSocket extends WebSocket {
  constructor(...words: ConstructorParameters<typeof WebSocket>) {
    super(...words);
    const send = this.send.bind(this);
    let isCorked = false;
    this.send = (...message: unknown[]) => {
      const { _socket: socket } = this as unknown as { _socket: Duplex | undefined };
      if (socket && !isCorked) {
        isCorked = true;
        socket.cork();
        setImmediate(() => {
          isCorked = false;
          socket.uncork();
        });
      }
      send(...(message as Parameters<WebSocket["send"]>));
    };
  }
}
