import { BUSY_GUEST_MS } from "./agent.ts";
import { hex } from "./bytes.ts";
import { reseedProgram, SEED_BYTES } from "./snapshot-reseed.ts";

/** A guest that took so long was told a time that had passed: it is told again, so many times at most. */
const SLOW_MS = 1000;
const MOST_TRIES = 5;

type RunCommand = (command: string, timeoutMs: number) => Promise<unknown>;

/**
 * Tells a machine that has stood still what it cannot know: chance that no other run of it has had, and the time. One without
 * an agent hears nothing of it, which is no error.
 * @param run runs a command in it, one after the other
 * @param isCopy others may run: its card gets an address of its own
 */
export async function wakeUp(run: RunCommand, isCopy: boolean): Promise<void> {
  try {
    let command = wakingScript(isCopy);
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      const toldAt = Date.now();
      await run(command, BUSY_GUEST_MS);
      if (Date.now() - toldAt < SLOW_MS) return;
      command = setClock();
    }
  } catch {
    // Whoever runs commands in it is told why they do not run.
  }
}

const setClock = (): string => `date -s @${Math.round(Date.now() / 1000)} >/dev/null`;

/**
 * The script's status is that of the program that has the kernel use the chance at once; a guest in which that cannot run
 * mixes it in within a minute.
 */
export function wakingScript(isCopy: boolean): string {
  const random = (count: number): Uint8Array => crypto.getRandomValues(new Uint8Array(count));
  const program = Array.from(reseedProgram(random(SEED_BYTES)), (byte) => `\\${byte.toString(8).padStart(3, "0")}`);
  const lines = [
    // Before what the guest's programs do.
    "renice -20 -p $$ 2>/dev/null",
    `wake=/tmp/.wake.$$; (umask 077; printf '${program.join("")}' >$wake); chmod 700 $wake; $wake; woken=$?; rm -f $wake`,
    `[ $woken = 0 ] || echo ${hex(random(32))} >/dev/urandom`,
    setClock(),
  ];
  if (isCopy)
    lines.push(
      `for card in /sys/class/net/eth*; do [ -e "$card" ] || continue; card=\${card##*/}; ip link set $card down; ` +
        `ip link set $card address 52:54:${hex(random(4), ":")}; ip link set $card up; done`,
    );
  return [...lines, "exit $woken"].join("\n");
}
