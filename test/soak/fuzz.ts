/** The relay's fuzzers with 1,000,000 frames and messages instead of 100,000; `FUZZ_MESSAGES` is another number. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const messages = process.env.FUZZ_MESSAGES ?? "1000000";
const tests = ["test/relay/fuzz.test.ts", "test/relay/server-fuzz.test.ts"];
const { status } = spawnSync(join(import.meta.dirname, "../../node_modules/.bin/vitest"), ["run", ...tests], {
  cwd: join(import.meta.dirname, "../.."),
  env: { ...process.env, FUZZ_MESSAGES: messages },
  stdio: "inherit",
});
process.exitCode = status ?? 1;
if (status === 0)
  console.log(`${messages} frames for the NAT, ${messages} frames and messages for the relay: nothing found`);
