import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import sirv from "sirv";

/**
 * Serves the built site: compressed copies where the browser takes them, entity tags, ranges, and the content security
 * policy. Names with a hash in them never change and are kept for ever; everything else is asked for again each time.
 * @param directory the folder that holds index.html
 * @param embedders origins whose pages may show the playground in a frame, as `frame-ancestors` has them
 */
export function siteHandler(
  directory: string,
  embedders: readonly string[] = ["*"],
): (request: IncomingMessage, response: ServerResponse) => void {
  const policy = readPolicy(`${directory}/index.html`);
  const packed = findPacked(directory);
  const serve = sirv(directory, {
    etag: true,
    brotli: true,
    gzip: true,
    dotfiles: false,
    setHeaders(response, pathname) {
      const isHashed = /^\/(assets|system)\/[\w.-]+-[\w-]{8,}(\.\w+)?$/.test(pathname.replace(/\.zst$/, ""));
      response.setHeader("Cache-Control", isHashed ? "public, max-age=31536000, immutable" : "no-cache");
      response.setHeader("X-Content-Type-Options", "nosniff");
      // What has no type is taken for text, and a browser that is watched turns all of it into letters.
      if (/^\/system\/(?!.*\.json$)/.test(pathname)) response.setHeader("Content-Type", "application/octet-stream");
      response.setHeader("Referrer-Policy", "no-referrer");
    },
  });
  return (request, response) => {
    // The whole page, with its buttons and the visitor's projects, is nobody's to put under other things.
    const isEmbed = /[?&]embed=1(&|$)/.test(request.url ?? "");
    const frames = `frame-ancestors ${["'self'", ...(isEmbed ? embedders : [])].join(" ")}`;
    response.setHeader("Content-Security-Policy", policy === "" ? frames : `${policy}; ${frames}`);
    // What sirv does with the other kinds of copies.
    const path = request.url?.split("?", 1)[0] ?? "";
    if (packed.has(path) && !request.headers.range && /\bzstd\b/.test(`${request.headers["accept-encoding"]}`)) {
      request.url = `${path}.zst`;
      response.setHeader("Content-Encoding", "zstd");
    }
    serve(request, response, () => {
      response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" });
      response.end("Cannot find this page: the playground is at /\n");
    });
  };
}

/** The site alone, without a relay. */
export function createSite(directory: string): Server {
  return createServer(siteHandler(directory));
}

/** Paths of files that have a copy packed with zstd. */
function findPacked(directory: string): Set<string> {
  const folder = `${directory}/system`;
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return new Set(names.filter((name) => name.endsWith(".zst")).map((name) => `/system/${name.slice(0, -4)}`));
}

/** The page's own policy, which holds for its workers only when it comes in a header. */
function readPolicy(path: string): string {
  const tag = /<meta\s[^>]*http-equiv="Content-Security-Policy"[^>]*>/i.exec(readFileSync(path, "utf8"))?.[0] ?? "";
  return /content="([^"]*)"/.exec(tag)?.[1] ?? "";
}
