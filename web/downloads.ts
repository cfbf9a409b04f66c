/** Downloads of what every machine has, counted together: one bar shows them all. */

export interface RemoteFile {
  /** What it is called in messages. */
  name: string;
  url: URL;
  /** Bytes of the file itself, and over the wire where the server compresses. */
  size: number;
  wire: number;
}

export interface Progress {
  /** Bytes over the wire. */
  done: number;
  total: number;
}

export interface Downloads {
  /**
   * A file that is asked for again comes from the same download, unless that failed.
   * @throws Error "Cannot load NAME: …"
   */
  load(file: RemoteFile): Promise<Uint8Array<ArrayBuffer>>;
  /** The same as it comes: for what is copied piece by piece anyway. */
  loadPieces(file: RemoteFile): Promise<Uint8Array[]>;
  /** A WebAssembly module, compiled while it arrives. */
  compile(file: RemoteFile): Promise<WebAssembly.Module>;
  /** Counts what somebody else downloads; a total of zero when it has come to nothing. */
  count(name: string, progress: Progress): void;
  /** Ends all that are under way. */
  cancel(): void;
}

/** Between two words about what is under way. */
const TELL_MS = 80;

/** @param onProgress hears of all downloads of the visit together, and null while there are none under way */
export function createDownloads(onProgress: (progress: Progress | null) => void): Downloads {
  const counts = new Map<string, Progress>();
  const kept = new Map<string, Promise<unknown>>();
  let abort = new AbortController();
  let toldAt = Number.NEGATIVE_INFINITY;

  const count = (name: string, progress: Progress): void => {
    const before = counts.get(name);
    counts.set(name, progress);
    // A file comes in a hundred pieces, and each word of it draws the page anew. Beginnings and ends are always told.
    const goesOn = before?.total === progress.total && progress.done < progress.total;
    if (goesOn && performance.now() - toldAt < TELL_MS) return;
    toldAt = performance.now();
    const all = [...counts.values()];
    const sum = (key: keyof Progress): number => all.reduce((total, each) => total + each[key], 0);
    const isUnderWay = all.some(({ done, total }) => done < total);
    // What has come stays in the sums: the page's whole visit is one download.
    onProgress(isUnderWay ? { done: sum("done"), total: sum("total") } : null);
  };
  const once = <T>(file: RemoteFile, take: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const { href } = file.url;
    const under = kept.get(href) as Promise<T> | undefined;
    if (under) return under;
    const { signal } = abort;
    count(file.name, { done: 0, total: file.wire });
    const taking = take(signal).then(
      (value) => {
        count(file.name, { done: file.wire, total: file.wire });
        return value;
      },
      (error: unknown) => {
        kept.delete(href);
        count(file.name, { done: 0, total: 0 });
        throw signal.aborted ? new Error(`Cannot load ${file.name}: it was cancelled`) : error;
      },
    );
    kept.set(href, taking);
    return taking;
  };

  /** @param take is given every piece, and where it belongs */
  const receive = async (
    file: RemoteFile,
    signal: AbortSignal,
    take: (piece: Uint8Array, at: number) => void,
  ): Promise<void> => {
    const response = await request(file, signal);
    let at = 0;
    for await (const piece of pieces(file, response, signal)) {
      if (at + piece.length > file.size) throw damaged(file);
      take(piece, at);
      at += piece.length;
      // What it is on the wire is known for the whole only.
      count(file.name, { done: (at / file.size) * file.wire, total: file.wire });
    }
    if (at !== file.size) throw damaged(file);
  };

  return {
    load: (file) =>
      once(file, async (signal) => {
        const bytes = new Uint8Array(file.size);
        await receive(file, signal, (piece, at) => bytes.set(piece, at));
        return bytes;
      }),
    loadPieces: (file) =>
      once(file, async (signal) => {
        const taken: Uint8Array[] = [];
        await receive(file, signal, (piece) => taken.push(piece));
        return taken;
      }),
    compile: (file) =>
      once(file, async (signal) => {
        const response = await request(file, signal);
        try {
          // Without the right type the browser refuses to compile while it downloads.
          if (response.headers.get("content-type") === "application/wasm")
            return await WebAssembly.compileStreaming(response);
          return await WebAssembly.compile(await response.arrayBuffer());
        } catch (error) {
          throw new Error(`Cannot load ${file.name}: ${String(error)}`);
        }
      }),
    count,
    cancel() {
      abort.abort();
      abort = new AbortController();
    },
  };
}

async function request({ name, url }: RemoteFile, signal: AbortSignal): Promise<Response> {
  const response = await fetch(url, { signal }).catch((error: unknown) => {
    throw new Error(`Cannot load ${name}: the server does not answer (${String(error)})`);
  });
  if (!response.ok) throw new Error(`Cannot load ${name}: the server answers ${response.status}`);
  return response;
}

async function* pieces({ name }: RemoteFile, response: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    const { value, done } = await reader.read().catch((error: unknown) => {
      signal.throwIfAborted();
      throw new Error(`Cannot load ${name}: the connection broke (${String(error)})`);
    });
    if (done) return;
    yield value;
  }
}

function damaged({ name }: RemoteFile): Error {
  return new Error(`Cannot load ${name}: it is not the file that belongs to this page. Reload the page`);
}
