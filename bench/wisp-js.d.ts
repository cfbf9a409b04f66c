/** What bench/network-memory.ts uses of a package that has no types. */
declare module "@mercuryworkshop/wisp-js/client" {
  interface WispStream {
    onmessage: (data: Uint8Array) => void;
    send(data: Uint8Array): void;
  }
  class ClientConnection {
    constructor(url: string);
    onopen: () => void;
    create_stream(host: string, port: number): WispStream;
  }
  export const client: { ClientConnection: typeof ClientConnection };
}
