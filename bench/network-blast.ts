/**
 * What v86's network card can carry at most, without any relay, websocket or TCP: UDP datagrams in prepared frames of 1514
 * bytes are put into the card as fast as its guest takes them, and a busybox nc reads them; what counts is what nc's socket
 * was given (InDatagrams of the guest's /proc/net/snmp). How many frames go in before the emulator has its turn decides how
 * many it drops, so several numbers are tried and the best counts. Outwards, the guest's dd and nc send large datagrams
 * as fast as they can, and the frames that come out are counted.
 */
import { parseMac } from "../relay/nat/address.ts";
import { ARP_OPERATION, decodeArp, encodeArp } from "../relay/nat/arp.ts";
import { ETHER_TYPE, writeEthernet } from "../relay/nat/ethernet.ts";
import { writeIpv4 } from "../relay/nat/ipv4.ts";
import { encodeUdp } from "../relay/nat/udp.ts";
import { bootGuest } from "../test/machine/guest.ts";

const GATEWAY = 0x0a000202;
const GUEST = 0x0a00020f;
const MAC = "02:00:00:00:02:02";
const DATA = 1472;
const MS = 2000;

/** @returns MiB of data a second, in and out */
export async function blast(initramfs: Uint8Array<ArrayBuffer>): Promise<{ inward: number; outward: number }> {
  let out = 0;
  const onFrame = (frame: Uint8Array): void => {
    out += Math.max(0, frame.length - 42);
    const arp = frame[12] === 8 && frame[13] === 6 ? decodeArp(frame, 14) : null;
    if (arp?.operation !== ARP_OPERATION.request || arp.targetAddress !== GATEWAY) return;
    const answer = new Uint8Array(42);
    writeEthernet(answer, arp.senderMac, parseMac(MAC), ETHER_TYPE.arp);
    const ends = { senderAddress: GATEWAY, targetMac: arp.senderMac, targetAddress: arp.senderAddress };
    answer.set(encodeArp({ operation: ARP_OPERATION.reply, senderMac: parseMac(MAC), ...ends }), 14);
    guest.machine.sendFrame(answer);
  };
  const guest = await bootGuest({ initramfs, onFrame });
  await guest.until(() => guest.watch.promptMs !== null, "prompt", 60_000);
  const run = async (command: string): Promise<string> => (await guest.agent.run(command, 60_000)).output.trim();
  // The card comes after the prompt; once its client asks for an address, the system's own part is done.
  const mac = await run(
    "until pgrep udhcpc >/dev/null; do sleep 0.2; done; killall udhcpc; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; " +
      "cat /sys/class/net/eth0/address",
  );
  const frame = new Uint8Array(42 + DATA);
  writeEthernet(frame, parseMac(mac.split("\n").at(-1) as string), parseMac(MAC), ETHER_TYPE.ipv4);
  const ends = { source: GATEWAY, destination: GUEST, protocol: 17, id: 1 };
  writeIpv4(frame, 14, ends, 8 + DATA);
  frame.set(encodeUdp({ sourcePort: 9, destinationPort: 9, data: new Uint8Array(DATA) }, GATEWAY, GUEST), 34);
  // Datagrams that came to a socket.
  const received = async (): Promise<number> =>
    Number((await run("grep ^Udp: /proc/net/snmp | tail -1 | cut -d' ' -f2")) || 0);
  await run("nc -l -u -p 9 >/dev/null 2>&1 & sleep 0.3");
  let inward = 0;
  // v86 says each time that its guest has no buffer for a frame.
  const { log, warn, error } = console;
  Object.assign(console, { log() {}, warn() {}, error() {} });
  for (const batch of [2, 4, 8, 16, 32]) {
    const before = await received();
    const startedAt = performance.now();
    while (performance.now() - startedAt < MS) {
      for (let i = 0; i < batch; i++) guest.machine.sendFrame(frame);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const seconds = (performance.now() - startedAt) / 1000;
    inward = Math.max(inward, (((await received()) - before) * DATA) / 2 ** 20 / seconds);
  }
  Object.assign(console, { log, warn, error });
  let outward = 0;
  for (let i = 0; i < 3; i++) {
    out = 0;
    const startedAt = performance.now();
    await run("timeout 3 dd if=/dev/zero bs=32k 2>/dev/null | timeout 3 nc -u 10.0.2.2 9; true");
    outward = Math.max(outward, out / 2 ** 20 / ((performance.now() - startedAt) / 1000));
  }
  await guest.machine.stop();
  if (inward === 0 || outward === 0) throw new Error("Cannot measure the card alone: no frame came through it");
  return { inward, outward };
}
