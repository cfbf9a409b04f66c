/** What the states of warm boots are made from, and known by: one of other inputs must never be taken for the right one. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hashStateInputs, listStateSources, readStates, SITE_ROOT, stateFolder } from "../../tools/states.ts";

const read = (path: string): Buffer => readFileSync(join(SITE_ROOT, path));

describe("the states of warm boots", () => {
  it("depend on everything that makes the machine and its files", () => {
    const sources = listStateSources();
    for (const part of ["tools/emulator.ts", "web/machine.ts", "web/machine-state.ts", "web/hand-over.ts"])
      expect(sources).toContain(part);
    for (const part of ["worker/delta.ts", "worker/recipe.ts", "worker/format/cpio.ts", "worker/format/file-tree.ts"])
      expect(sources).toContain(part);
    // What is only looked at while the page runs must not make them anew.
    for (const path of sources) expect(path).not.toMatch(/^web\/(views|text|main)/);
  });

  it("are others when any of it, the emulator or an artefact has changed", () => {
    const present = hashStateInputs();
    const lists = ["node_modules/v86/package.json", "public/system/manifest.json"];
    const sums = [...listStateSources(), ...lists].map((changed) =>
      hashStateInputs((path) => (path === changed ? Buffer.concat([read(path), Buffer.from("\n")]) : read(path))),
    );
    expect(sums).not.toContain(present);
    expect(new Set(sums).size).toBe(sums.length);
    expect(hashStateInputs()).toBe(present);
  });

  it("are looked for under that sum only", () => {
    expect(stateFolder()).toContain(hashStateInputs().slice(0, 16));
    for (const { path } of readStates()) expect(path.startsWith(`${stateFolder()}/`)).toBe(true);
  });
});
