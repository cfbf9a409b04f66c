/** The engine of `npm start`: the NAT in this process, under the operator's policy. */
import { contains, parseAddress } from "./addresses.ts";
import type { Engine } from "./engine.ts";
import { createNat, DEFAULT_SUBNET } from "./nat/nat.ts";
import type { RelayOptions } from "./options.ts";
import { createPolicy } from "./policy.ts";

export const MTU = 1500;
export const SUBNET = DEFAULT_SUBNET;

const LOOPBACK = "127.0.0.1";

export function createEmbedded(options: Pick<RelayOptions, "allow" | "deny">): Engine {
  // A guest's 127.0.0.1 is itself. What `--allow 127.0.0.1:8000` opens, it finds at its gateway's address.
  const loopback = parseAddress(LOOPBACK) as Uint8Array;
  const isOpen = options.allow.some(({ cidr }) => contains(cidr, loopback));
  return createNat({
    policy: createPolicy(options),
    subnet: SUBNET,
    mtu: MTU,
    hostAliases: isOpen ? { [SUBNET.gateway]: LOOPBACK } : {},
  });
}
