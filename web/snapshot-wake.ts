/**
 * What a machine is told that has stood still: the time, and chance that no other run of it has had.
 * @param isCopy others may run: its card gets an address of its own
 */
export function wakeUp(isCopy: boolean): string {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(32)), (byte) => byte.toString(16).padStart(2, "0"));
  const address = ["52:54", ...random.slice(0, 4)].join(":");
  const lines = [`date -s @${Math.round(Date.now() / 1000)} >/dev/null`, `echo ${random.join("")} >/dev/urandom`];
  if (isCopy)
    lines.push(
      `for card in /sys/class/net/eth*; do [ -e "$card" ] || continue; card=\${card##*/}; ip link set $card down; ` +
        `ip link set $card address ${address}; ip link set $card up; done`,
    );
  return lines.join("\n");
}
