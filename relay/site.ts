import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import sirv from "sirv";

/**
 * Serves the built site: compressed copies where the browser takes them, entity tags, ranges.
 * Names with a hash in them never change and are kept for ever; everything else is asked for again each time.
 * @param directory the folder that holds index.html
 */
export function siteHandler(directory: string): (request: IncomingMessage, response: ServerResponse) => void {
  const serve = sirv(directory, {
    etag: true,
    brotli: true,
    gzip: true,
    dotfiles: false,
    setHeaders(response, pathname) {
      const isHashed = /^\/(assets|system)\/[\w.-]+-[\w-]{8,}(\.\w+)?$/.test(pathname);
      response.setHeader("Cache-Control", isHashed ? "public, max-age=31536000, immutable" : "no-cache");
      response.setHeader("X-Content-Type-Options", "nosniff");
      response.setHeader("Referrer-Policy", "no-referrer");
    },
  });
  return (request, response) =>
    serve(request, response, () => {
      response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" });
      response.end("Cannot find this page: the playground is at /\n");
    });
}

/** The site alone, without a relay. */
export function createSite(directory: string): Server {
  return createServer(siteHandler(directory));
}
