/** Files that are handed ahead, as far as no machine is needed for it: what a boot does when the machine does not come back. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Spare } from "../../web/warm.ts";
import { createWarmFiles, type WarmProject } from "../../web/warm-files.ts";

const wish = { commandLine: "quiet", memoryMb: 64, card: "virtio", kernel: null } as const;
const project: WarmProject = {
  wish,
  id: "one",
  overlay: [{ path: "/srv/a", kind: "file", mode: 0o644, content: Uint8Array.of(1) }],
};

describe("files ahead", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("are given up with their machine when it takes too long, so that a boot goes on", async () => {
    let giveUp: (error: Error) => void = () => {};
    const takeIn = (): Promise<void> =>
      new Promise((_, reject) => {
        giveUp = reject;
      });
    let spare: Promise<Spare> | null = Promise.resolve({
      kind: "64 virtio  quiet",
      machine: { takeIn },
    } as unknown as Spare);
    const warm = {
      spare: () => spare,
      async drop() {
        spare = null;
        giveUp(new Error("Cannot hand over files: the machine is switched off"));
      },
      async keepSpare() {},
    };
    const compose = async () => ({ ok: true as const, bytes: new Uint8Array(4), buildMs: 0 });
    const files = createWarmFiles(warm, compose);
    files.handAhead(project);
    await vi.advanceTimersByTimeAsync(0);
    const composing = files.compose(project, compose);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(spare).not.toBeNull();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(spare).toBeNull();
    expect((await composing).ok).toBe(true);
  });
});
