/** How figures are shown and kept. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Row {
  what: string;
  value: number;
  unit: string;
  baseline?: number;
  ratio?: number;
  goal: string;
  met: boolean;
}

const RESULTS = join(import.meta.dirname, "results");

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

/** A time that may take so many times the baseline's. */
export function atMost(what: string, value: number, limit: number, baseline: number, name: string): Row {
  const ratio = value / baseline;
  return { what, value, unit: "ms", baseline, ratio, goal: `≤ ${limit} × ${name}`, met: ratio <= limit };
}

/** A speed as a part of the baseline's; both are given as times for the same work. */
export function asFastAs(what: string, value: number, least: number, baseline: number, name: string): Row {
  const ratio = baseline / value;
  return { what, value, unit: "ms", baseline, ratio, goal: `≥ ${least} × ${name}'s speed`, met: ratio >= least };
}

export function bounded(what: string, value: number, unit: string, limit: number): Row {
  return { what, value, unit, goal: `≤ ${limit} ${unit}`, met: value <= limit };
}

/** Prints the table and writes `bench/results/NAME.json`. */
export function publish(name: string, rows: readonly Row[], details: object): void {
  console.log(`| what | measured | baseline | ratio | goal | met |\n|---|---|---|---|---|---|`);
  for (const { what, value, unit, baseline, ratio, goal, met } of rows) {
    const digits = unit === "MB" || (unit === "ms" && value < 1) ? 2 : unit.startsWith("%") ? 1 : 0;
    const cells = [
      what,
      `${value.toFixed(digits)} ${unit}`.trim(),
      baseline === undefined ? "—" : `${baseline.toFixed(baseline < 1 ? 2 : 0)} ${unit}`,
      ratio === undefined ? "—" : ratio.toFixed(2),
      goal,
      met ? "yes" : "no",
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(join(RESULTS, `${name}.json`), `${JSON.stringify({ ...details, rows }, null, 2)}\n`);
}
