/** 500 simulated guests on one relay for ten minutes; `GUESTS` and `MINUTES` are other numbers. */
import { crowd, judgeCrowd } from "../relay/crowd.ts";

const guests = Number(process.env.GUESTS ?? 500);
const minutes = Number(process.env.MINUTES ?? 10);
if (!Number.isInteger(guests) || guests < 1) throw new Error(`Cannot have ${process.env.GUESTS} guests: give a number`);
if (!(minutes > 0)) throw new Error(`Cannot go on for ${process.env.MINUTES} minutes: give a number`);
console.log(`${guests} guests for ${minutes} minutes`);

const startedAt = Date.now();
const report = await crowd(guests, minutes * 60_000, (sample, { faults, done }) => {
  const seconds = Math.round((Date.now() - startedAt) / 1000);
  const turns = Object.values(done).reduce((sum, one) => sum + one, 0);
  const mb = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
  if (seconds % 60 < 10)
    console.log(
      `${seconds} s: ${sample.guests} guests, ${turns} turns, ${faults.length} faults, ` +
        `${mb(sample.used)} in use, ${mb(sample.resident)} resident`,
    );
});
const problems = judgeCrowd(report, guests);
for (const problem of problems) console.error(problem);
const { done, pings, left } = report;
console.log(
  `${JSON.stringify(done)}; pings: median ${pings[pings.length >> 1]?.toFixed(1)} ms, ` +
    `99 of 100 below ${pings[Math.floor(pings.length * 0.99)]?.toFixed(0)} ms; ${(left.used / 1e6).toFixed(1)} MB in use at the end`,
);
if (problems.length > 0) process.exit(1);
console.log(`${guests} guests, ${minutes} minutes: none was disturbed, memory is bounded`);
process.exit(0);
