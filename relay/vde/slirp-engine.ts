/**
 * libslirp as an engine: a NAT in user mode, without rights of its own, in a process for each guest. It is a module of
 * vde_plug (libvdeplug_slirp(1), Debian's package libvdeplug-slirp).
 *
 * Limitations: its own subnet, 10.0.2.0/24, is the only one, since its address with a prefix does not survive in its URL.
 * It pings by UDP where it may not ping, which answers nothing truthfully, so the relay pings.
 */
import { formatAddress } from "../nat/address.ts";
import { ARP_OPERATION, decodeArp } from "../nat/arp.ts";
import { ETHER_TYPE, ETHERNET_HEADER } from "../nat/ethernet.ts";
import type { Network } from "../nat/link.ts";
import { readSubnet } from "../nat/link.ts";
import { getU16 } from "../nat/words.ts";
import { missingPackages } from "./programs.ts";
import { arpFrame, GUEST_MAC, type Uplink, VdeEngine, type VdeEngineOptions } from "./vde-guest.ts";
import { type Question, VdePlug } from "./vde-plug.ts";

export interface SlirpOptions extends Omit<VdeEngineOptions, "uplink"> {
  /** Words in front of the command, such as those that enter a network namespace. */
  within?: readonly string[];
}

const GATEWAY = "10.0.2.2";
const DNS = "10.0.2.3";
/** A socket for each of the guest's connections and flows, and some more: whatever the guest does, these are all. */
const OPEN_FILES = 1024;
const START_MS = 5000;

/** @throws Error "Cannot use the slirp engine: …" */
export async function createSlirpEngine(options: SlirpOptions): Promise<VdeEngine> {
  const cannot = (why: string): Error => new Error(`Cannot use the slirp engine: ${why}`);
  const network = readSubnet(options.subnet, options.mtu);
  const { gateway, dns } = network;
  if (formatAddress(gateway) !== GATEWAY || formatAddress(dns) !== DNS || options.subnet.prefixLength !== 24)
    throw cannot(`its subnet is that of ${GATEWAY}/24 with the resolver ${DNS}`);
  const missing = missingPackages({ vde_plug: "vdeplug", prlimit: "util-linux" });
  if (missing.length > 0) throw cannot(`install ${missing.join(" ")}`);
  // Its ways to this computer's own loopback are closed as well, though the filter lets nothing through to them.
  const url = `slirp:///v4/mtu=${options.mtu}/mru=${options.mtu}/disable_host_loopback`;
  const command = [...(options.within ?? []), "prlimit", `--nofile=${OPEN_FILES}`, "--core=0", "vde_plug", url];
  const problem = await tryOut(command, network);
  if (problem) throw cannot(`${problem} (Debian's packages vdeplug and libvdeplug-slirp)`);
  const uplink: Uplink = {
    name: "slirp",
    carriesPings: false,
    open: (guestNetwork) => ({ command, question: questionFor(guestNetwork), close() {} }),
    close: async () => {},
  };
  return new VdeEngine({ ...options, uplink });
}

/** Asks it for its Ethernet address: it answers if everything it consists of is there. @returns what is wrong */
async function tryOut(command: readonly string[], network: Network): Promise<string | null> {
  let plug: VdePlug | null = null;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string | null>((resolve) => {
      timer = setTimeout(() => resolve("it does not answer"), START_MS);
      const { frame: question, isAnswer } = questionFor(network);
      plug = new VdePlug({
        command,
        onFrame: (frame) => isAnswer(frame) && resolve(null),
        onProblem: resolve,
      });
      plug.send(question, () => {});
    });
  } finally {
    clearTimeout(timer);
    await (plug as VdePlug | null)?.close();
  }
}

/** Asks for the gateway's Ethernet address. By this libslirp learns the guest's, too. */
function questionFor(network: Network): Question {
  const frame = arpFrame(new Uint8Array(6).fill(255), GUEST_MAC, {
    operation: ARP_OPERATION.request,
    senderMac: GUEST_MAC,
    senderAddress: network.guest,
    targetMac: new Uint8Array(6),
    targetAddress: network.gateway,
  });
  const isAnswer = (bytes: Uint8Array): boolean => {
    if (bytes.length < ETHERNET_HEADER || getU16(bytes, 12) !== ETHER_TYPE.arp) return false;
    const arp = decodeArp(bytes, ETHERNET_HEADER);
    return arp?.operation === ARP_OPERATION.reply && arp.senderAddress === network.gateway;
  };
  return { frame, isAnswer };
}
