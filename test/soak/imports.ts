/** `npm run soak -- imports`: 20,000 changed files; `FUZZ_SEED` repeats those of another run. */
import { fuzz } from "./mutants.ts";

const COUNT = 20_000;
const MOST_MB = 256;
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000_000);
console.log(`seeds ${seed} to ${seed + COUNT - 1}`);
const report = await fuzz(COUNT, seed, (done) => {
  if (done % 2000 === 0) console.log(`${done} …`);
});
console.log(
  `${COUNT} changed files: ${report.taken} taken, ${report.refused} refused in words; ` +
    `the slowest took ${Math.round(report.slowestMs)} ms, memory grew by ${Math.round(report.grownMb)} MB`,
);
if (report.grownMb > MOST_MB) process.exitCode = 1;
