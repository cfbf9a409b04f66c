/** `npm run soak -- relay` does the same for ten minutes. */
import { expect, it } from "vitest";
import { crowd, judgeCrowd } from "./crowd.ts";

const GUESTS = 500;

it(`${GUESTS} guests work on one relay for a minute: none is disturbed, memory is bounded and given back`, async () => {
  const report = await crowd(GUESTS, 60_000);
  expect(judgeCrowd(report, GUESTS)).toEqual([]);
  const { done, pings, samples, left } = report;
  const used = [...samples, left].map((sample) => `${(sample.used / 1e6).toFixed(0)} MB`).join(", ");
  console.log(`${JSON.stringify(done)}; median ping ${pings[pings.length >> 1]?.toFixed(0)} ms; in use ${used}`);
}, 240_000);
