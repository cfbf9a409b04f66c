/**
 * Kills the browser 200 times while its guest writes; `KILLS` is another number. The moments of the kills come from a
 * seed that is printed, and that `SEED` gives again.
 */
import { killWhileWriting } from "../browser/kills.ts";

const kills = Number(process.env.KILLS ?? 200);
const seed = Number(process.env.SEED ?? Date.now() % 2 ** 32);
if (!Number.isInteger(kills) || kills < 1) throw new Error(`Cannot kill ${process.env.KILLS} times: give a number`);
if (!Number.isInteger(seed)) throw new Error(`Cannot start from ${process.env.SEED}: give a number`);
console.log(`${kills} kills, seed ${seed}`);

const { acknowledged, replayed } = await killWhileWriting(kills, numbersFrom(seed), (report) => {
  if (report.kills % 20 === 0 || report.kills === kills)
    console.log(`${report.kills} kills, ${report.acknowledged} records acknowledged, ${report.lost} lost`);
});
console.log(`${kills} kills: none of ${acknowledged} synced records lost, ${replayed} journals replayed, all clean`);

/** Mulberry32: numbers from 0 to 1. */
function numbersFrom(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
