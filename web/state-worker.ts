/** Makes a state of a warm boot beside the page, whose machine goes on meanwhile: a machine without a screen. */

import { sentenceOf } from "./sentence.ts";
import { makeState, type StateParts } from "./warm-state.ts";

export type StateAnswer = { ok: true; packed: Blob } | { ok: false; problem: string };

/** Level and format are the browser's: gzip, about four megabytes. */
async function pack(state: Uint8Array<ArrayBuffer>): Promise<Blob> {
  return new Response(new Blob([state]).stream().pipeThrough(new CompressionStream("gzip"))).blob();
}

addEventListener("message", async ({ data }: MessageEvent<StateParts>) => {
  let answer: StateAnswer;
  try {
    answer = { ok: true, packed: await pack(await makeState(data)) };
  } catch (error) {
    answer = { ok: false, problem: sentenceOf(error) };
  }
  postMessage(answer);
});
