/** A machine's state, saved in slices, and the machine that goes on from it. */
import { describe, expect, it } from "vitest";
import { bootGuest, buildTestInitramfs } from "./guest.ts";

describe("a saved machine", () => {
  it("goes on where it was, as often as one likes", async () => {
    const first = await bootGuest({ initramfs: await buildTestInitramfs() });
    await first.until(() => first.watch.promptMs !== null, "prompt");
    await first.agent.run("echo kept >/tmp/kept; (while :; do sleep 1; done) & echo $! >/tmp/job", 10_000);
    // A command that is under way comes to its end in the copy as well, and nobody is told.
    const lost = first.agent.run("sleep 2; echo late >/tmp/late", 10_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await first.machine.pause();
    let turns = 0;
    const count = setInterval(() => {
      turns += 1;
    });
    const state = await first.machine.save();
    clearInterval(count);
    expect(turns).toBeGreaterThan(0);
    // The same at once, byte for byte but for the clocks that go on.
    const again = first.machine.saveNow(Number.POSITIVE_INFINITY) as ArrayBuffer;
    expect(again.byteLength).toBe(state.byteLength);
    expect(first.machine.saveNow(1 << 20)).toBeNull();
    expect(state.byteLength).toBeLessThan(24 << 20);
    const { counted } = first.agent;
    first.machine.resume();
    await lost;
    await first.agent.run("echo moved on >/tmp/kept", 10_000);
    await first.machine.stop();

    for (const turn of [1, 2]) {
      const guest = await bootGuest({ saved: { state: state.slice(0), commands: counted } });
      const { output } = await guest.agent.run(
        "cat /tmp/kept; kill -0 $(cat /tmp/job) && echo alive; date +%s",
        10_000,
      );
      const [kept, alive] = output.split("\n");
      expect([kept, alive], `turn ${turn}`).toEqual(["kept", "alive"]);
      // What is typed is answered: the serial line's interrupts and the shell's terminal are as they were.
      guest.machine.sendSerial(new TextEncoder().encode("echo $((40 + 2))!\r"));
      await guest.until(() => guest.output().includes("42!"), "echo");
      const { output: slept } = await guest.agent.run("time sleep 1; cat /tmp/late", 20_000);
      expect(slept).toMatch(/real\s+0m 1\.\d\ds[\s\S]*late/);
      await guest.machine.stop();
    }
  });
});
