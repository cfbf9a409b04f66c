import { hex } from "./bytes.ts";
import { reseedProgram, SEED_BYTES } from "./snapshot-reseed.ts";

/**
 * What a machine is told that has stood still: chance that no other run of it has had, and the time. Its status is that of
 * the program that has the kernel use the chance at once; a guest in which that cannot run mixes it in within a minute.
 * @param isCopy others may run: its card gets an address of its own
 */
export function wakeUp(isCopy: boolean): string {
  const random = (count: number): Uint8Array => crypto.getRandomValues(new Uint8Array(count));
  const program = Array.from(reseedProgram(random(SEED_BYTES)), (byte) => `\\${byte.toString(8).padStart(3, "0")}`);
  const lines = [
    `wake=/tmp/.wake.$$; (umask 077; printf '${program.join("")}' >$wake); chmod 700 $wake; $wake; woken=$?; rm -f $wake`,
    `[ $woken = 0 ] || echo ${hex(random(32))} >/dev/urandom`,
    `date -s @${Math.round(Date.now() / 1000)} >/dev/null`,
  ];
  if (isCopy)
    lines.push(
      `for card in /sys/class/net/eth*; do [ -e "$card" ] || continue; card=\${card##*/}; ip link set $card down; ` +
        `ip link set $card address 52:54:${hex(random(4), ":")}; ip link set $card up; done`,
    );
  return [...lines, "exit $woken"].join("\n");
}
