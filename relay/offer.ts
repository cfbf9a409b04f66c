/** What a relay offers to each of its guests: the part of `hello` that is the same for all (docs/relay-protocol.md). */
import type { Feature, ServerMessage } from "./control.ts";
import type { Forwards } from "./forwards.ts";
import type { RelayLimits } from "./options.ts";

export type Offer = Pick<Extract<ServerMessage, { type: "hello" }>, "features" | "limits" | "mtu" | "policy">;

/** Ethernet's header and a VLAN tag around a packet of the MTU's size. */
const FRAME_OVERHEAD = 18;

/** JSON has no infinity: what has no limit is null. */
const plainNumber = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** @param policy what guests may reach, in words */
export function makeOffer(limits: RelayLimits, forwards: Pick<Forwards, "can">, mtu: number, policy: string): Offer {
  const features: Feature[] = ["rooms"];
  for (const kind of ["http", "tcp", "udp"] as const) if (forwards.can(kind)) features.push(`${kind}-forward`);
  if (limits.resumeMs > 0) features.push("resume");
  return {
    features,
    limits: {
      frameBytes: mtu + FRAME_OVERHEAD,
      framesPerSecond: plainNumber(limits.framesPerSecond),
      bytesPerSecond: plainNumber(limits.bytesPerSecond),
      messagesPerSecond: limits.messagesPerSecond,
      idleSeconds: plainNumber(limits.idleMs / 1000),
      totalSeconds: plainNumber(limits.totalMs / 1000),
      resumeSeconds: limits.resumeMs / 1000,
      forwards: limits.forwards,
      roomMembers: limits.roomMembers,
    },
    mtu,
    policy,
  };
}
