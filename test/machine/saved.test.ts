/** A machine's state, saved in slices, and the machine that goes on from it. */
import { describe, expect, it } from "vitest";
import { checkState } from "../../web/machine-state-check.ts";
import { wakeUp, wakingScript } from "../../web/snapshot-wake.ts";
import { createRandom, mutate } from "../soak/mutants.ts";
import { bootGuest, buildTestInitramfs } from "./guest.ts";

/** What comes from outside is looked at before v86 believes it: nothing but a refusal in words, whatever was changed. */
function checkChanged(state: Uint8Array<ArrayBuffer>): void {
  expect(() => checkState(state, 128)).not.toThrow();
  expect(() => checkState(state, 256)).toThrow("its memory is not one of 256 MB");
  expect(() => checkState(state.subarray(0, -1), 128)).toThrow("it is cut off");
  const length = new DataView(state.buffer).getInt32(12, true);
  const text = new TextDecoder().decode(state.subarray(16, 16 + length));
  const start = (16 + length + 3) & ~3;
  const withText = (changed: string): Uint8Array => {
    const description = new TextEncoder().encode(changed);
    const next = (16 + description.length + 3) & ~3;
    const bytes = new Uint8Array(next + state.length - start);
    bytes.set(state.subarray(0, 16));
    bytes.set(description, 16);
    bytes.set(state.subarray(start), next);
    const view = new DataView(bytes.buffer);
    view.setInt32(8, bytes.length, true);
    view.setInt32(12, description.length, true);
    return bytes;
  };
  expect(() => checkState(withText(text), 128)).not.toThrow();
  const first = '{"__state_type__":"Uint8Array","buffer_id":0}';
  expect(text).toContain(first);
  for (const [from, to, message] of [
    [first, '{"__state_type__":"Uint8Array","args":9000000000}', "an array of an unknown kind"],
    [first, '{"__state_type__":"constructor","buffer_id":0}', "an array of an unknown kind"],
    [first, '{"__state_type__":"Float64Array","buffer_id":99999}', "an array of an unknown kind"],
    [first, "[".repeat(20) + "]".repeat(20), "there is too much in it"],
    [first, `[${"0,".repeat(20_000)}0]`, "a list of it has 20001 entries"],
    [first, `"${"x".repeat(300)}"`, "a text in it is too long"],
    ['"buffer_infos":[', '"buffer_infos":[{"offset":0,"length":99999999},', "a buffer of it would be at 0"],
    ['"buffer_infos":[', `"buffer_infos":[${'{"offset":0,"length":9999999},'.repeat(9)}`, "its buffers overlap"],
    ['"state":[134217728,', '"state":[1073741824,', "its memory is not one of 128 MB"],
    ['"state":[', '"state":{"a":[', "its description is no JSON"],
  ] as const)
    expect(() => checkState(withText(text.replace(from, to)), 128), to.slice(0, 60)).toThrow(
      `Cannot use the state: ${message.startsWith("it") || message.startsWith("a ") || message.startsWith("there") ? message : `it has ${message}`}`,
    );
  let refused = 0;
  for (let seed = 1; seed <= 200; seed += 1) {
    const changed = new TextDecoder().decode(mutate(new TextEncoder().encode(text), createRandom(seed)));
    try {
      checkState(withText(changed), 128);
    } catch (error) {
      refused += 1;
      expect((error as Error).message, `seed ${seed}`).toMatch(/^Cannot use the state: /);
    }
  }
  expect(refused).toBeGreaterThan(100);
}

const STANDS_MS = 8000;
/** Programs that never rest. */
const BUSY = "for i in $(seq 12); do (while :; do :; done) & done";

describe("a saved machine", () => {
  it("goes on where it was, as often as one likes", async () => {
    const first = await bootGuest({ initramfs: await buildTestInitramfs() });
    await first.until(() => first.watch.promptMs !== null, "prompt");
    await first.agent.run("echo kept >/tmp/kept; (while :; do sleep 1; done) & echo $! >/tmp/job", 10_000);
    // A command that is under way comes to its end in the copy as well, and nobody is told.
    const lost = first.agent.run("sleep 5; echo late >/tmp/late", 60_000);
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
    checkChanged(new Uint8Array(state));
    const { counted } = first.agent;
    first.machine.resume();
    await lost;
    await first.agent.run("echo moved on >/tmp/kept", 10_000);
    await first.machine.stop();

    const chance: string[] = [];
    for (const turn of [1, 2]) {
      const guest = await bootGuest({ saved: { state: state.slice(0), commands: counted } });
      // No two runs have the same random numbers, from the first one on.
      expect(await guest.agent.run(wakingScript(true), 10_000)).toEqual({ status: 0, output: "" });
      chance.push((await guest.agent.run("head -c 16 /dev/urandom | md5sum; ls -A /tmp", 10_000)).output);
      const { output } = await guest.agent.run(
        "cat /tmp/kept; kill -0 $(cat /tmp/job) && echo alive; date +%s",
        10_000,
      );
      const [kept, alive] = output.split("\n");
      expect([kept, alive], `turn ${turn}`).toEqual(["kept", "alive"]);
      // What is typed is answered: the serial line's interrupts and the shell's terminal are as they were.
      guest.machine.sendSerial(new TextEncoder().encode("echo $((40 + 2))!\r"));
      await guest.until(() => guest.output().includes("42!"), "echo");
      const { output: slept } = await guest.agent.run(
        "time sleep 1; until [ -s /tmp/late ]; do sleep 1; done; sleep 1; cat /tmp/late",
        20_000,
      );
      expect(slept).toMatch(/real\s+0m 1\.\d\ds[\s\S]*late/);
      await guest.machine.stop();
    }
    expect(chance[0]).not.toBe(chance[1]);
    expect(chance[0]).not.toContain("wake");
  });

  it("is told the time also when its programs leave it no time to hear", async () => {
    const first = await bootGuest({ initramfs: await buildTestInitramfs() });
    await first.until(() => first.watch.promptMs !== null, "prompt");
    await first.agent.run(BUSY, 60_000);
    const { output: uptime } = await first.agent.run("cut -d. -f1 /proc/uptime", 60_000);
    await first.machine.pause();
    const state = await first.machine.save();
    const { counted } = first.agent;
    await first.machine.stop();
    await new Promise((resolve) => setTimeout(resolve, STANDS_MS));

    const wokenAt = Date.now();
    const guest = await bootGuest({ saved: { state, commands: counted } });
    await wakeUp(guest.agent.run, true);
    const askedAt = Date.now();
    const { output } = await guest.agent.run(
      "date +%s; cut -d. -f1 /proc/uptime; cat /sys/class/net/eth0/address",
      60_000,
    );
    const [time, uptimeNow, address] = output.split("\n");
    expect(Number(time) * 1000).toBeGreaterThan(askedAt - STANDS_MS / 2);
    expect(Number(time) * 1000).toBeLessThan(Date.now() + STANDS_MS / 2);
    expect(address).toMatch(/^52:54:/);
    // While it was no machine it did not grow older.
    expect(Number(uptimeNow) - Number(uptime)).toBeLessThan((Date.now() - wokenAt + STANDS_MS / 2) / 1000);
    await guest.machine.stop();
  });
});

describe("a paused machine", () => {
  it("owes its programs none of the time in which it stood", async () => {
    const guest = await bootGuest({ initramfs: await buildTestInitramfs() });
    await guest.until(() => guest.watch.promptMs !== null, "prompt");
    await guest.agent.run(BUSY, 60_000);
    await guest.machine.pause();
    await new Promise((resolve) => setTimeout(resolve, STANDS_MS));
    guest.machine.resume();
    // Each of twelve would take the whole pause before another one's turn came.
    expect(await guest.agent.run("echo here", 2 * STANDS_MS)).toEqual({ status: 0, output: "here\n" });
    await guest.machine.stop();
  });
});
