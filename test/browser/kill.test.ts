/** What the guest has synced survives the browser's sudden death. `npm run soak` does the same for longer. */
import { expect, it } from "vitest";
import { type KillReport, killWhileWriting } from "./kills.ts";

const KILLS = 30;
/** Browsers that are killed side by side: while one starts or is looked at, the other writes. */
const BROWSERS = 2;

it(`loses no synced record over ${KILLS} kills`, { timeout: 900_000 }, async () => {
  const reports = await Promise.all(
    Array.from({ length: BROWSERS }, () => killWhileWriting(KILLS / BROWSERS, Math.random)),
  );
  const total = (what: keyof KillReport) => reports.reduce((sum, report) => sum + report[what], 0);
  expect([total("kills"), total("lost")]).toEqual([KILLS, 0]);
  expect(total("acknowledged")).toBeGreaterThanOrEqual(KILLS);
  // Otherwise the kills came when nothing was going on.
  expect(total("replayed")).toBeGreaterThan(KILLS);
  console.log(`${KILLS} kills, ${total("acknowledged")} records acknowledged, none lost`);
});
