// @ts-check
/** What servers for guests answer: `/bytes/N` gives N bytes as fast as they are taken, everything else a word. */

const BLOCK = Buffer.alloc(65536, "0123456789abcdef");

/**
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
export function answerBytes(request, response) {
  const wanted = Number(/^\/bytes\/(\d+)$/.exec(request.url ?? "")?.[1] ?? 0);
  if (wanted === 0) return void response.end("hello");
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
}
