import { describe, expect, it } from "vitest";
import { copyOf } from "../../relay/nat/words.ts";
import { FrameSplitter, VdePlug } from "../../relay/vde/vde-plug.ts";
import { pause, until } from "./guests.ts";

describe("vde_plug's frames over standard input and output", () => {
  it("are found however the stream is cut", () => {
    const frames = [60, 1514, 0, 300].map((length, i) => new Uint8Array(length).fill(i + 1));
    const stream = Buffer.concat(frames.flatMap((frame) => [Buffer.of(frame.length >> 8, frame.length & 255), frame]));
    for (const size of [1, 2, 7, 1000, stream.length]) {
      const found: Uint8Array[] = [];
      const splitter = new FrameSplitter();
      for (let at = 0; at < stream.length; at += size)
        splitter.push(stream.subarray(at, at + size), (frame) => void found.push(copyOf(frame)));
      expect(found.map(String)).toEqual(frames.map(String));
    }
  });

  it("wait until it is ready, are bounded when it does not read, and end with it", async () => {
    const found: Uint8Array[] = [];
    let ready = (): void => {};
    const plug = new VdePlug({
      command: ["cat"],
      prepare: () => new Promise((resolve) => (ready = resolve)),
      onFrame: (frame) => void found.push(copyOf(frame)),
      onProblem: () => {},
    });
    const frame = new Uint8Array(100).fill(5);
    const taken = Array.from({ length: 6000 }, () => plug.send(frame, (copy) => copy.fill(6, 0, 2)));
    const most = Math.floor((512 * 1024) / 102);
    expect(taken.filter(Boolean)).toHaveLength(most);
    ready();
    await until(() => found.length === most, "all frames came back");
    expect([found[0]?.[0], found[0]?.[2], frame[0]]).toEqual([6, 5, 5]);
    // `cat` writes nothing that nobody reads.
    plug.pause();
    let refused = 0;
    for (let i = 0; i < 3000; i++) if (!plug.send(new Uint8Array(1500), () => {})) refused++;
    expect(refused).toBeGreaterThan(1000);
    await plug.close();
    expect(plug.send(frame, () => {})).toBe(false);
  });

  it("tells in words how it ended, and starts again with a later frame", async () => {
    const problems: string[] = [];
    const plug = new VdePlug({
      command: ["sh", "-c", "echo 'no such thing' >&2; exit 3"],
      onFrame: () => {},
      onProblem: (words) => void problems.push(words),
    });
    plug.send(new Uint8Array(60), () => {});
    await until(() => problems.length === 1, "it has ended");
    expect(problems).toEqual(["it has ended: no such thing"]);
    expect(plug.send(new Uint8Array(60), () => {})).toBe(false);
    await pause(150);
    plug.send(new Uint8Array(60), () => {});
    await until(() => problems.length === 2, "it has ended again");
    await plug.close();
    const missing = new VdePlug({
      command: ["/no/such"],
      onFrame() {},
      onProblem: (words) => void problems.push(words),
    });
    missing.send(new Uint8Array(60), () => {});
    await until(() => problems.length === 3, "it could not be started");
    expect(problems[2]).toContain("ENOENT");
    await missing.close();
  });
});
