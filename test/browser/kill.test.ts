/** What the guest has synced survives the browser's sudden death. `npm run soak` does the same for longer. */
import { expect, it } from "vitest";
import { killWhileWriting } from "./kills.ts";

const KILLS = 30;

it(`loses no synced record over ${KILLS} kills`, { timeout: 900_000 }, async () => {
  const report = await killWhileWriting(KILLS, Math.random);
  expect(report).toMatchObject({ kills: KILLS, lost: 0 });
  expect(report.acknowledged).toBeGreaterThanOrEqual(KILLS);
  // Otherwise the kills came when nothing was going on.
  expect(report.replayed).toBeGreaterThan(KILLS);
  console.log(`${report.kills} kills, ${report.acknowledged} records acknowledged, none lost`);
});
