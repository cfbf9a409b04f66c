/** Frames of a guest for the engines behind vde_plug, and the policy they are judged by. */
import { parseAddress } from "../../relay/nat/address.ts";
import { encodeEcho } from "../../relay/nat/icmp.ts";
import { FLAG } from "../../relay/nat/tcp-segment.ts";
import { createPolicy } from "../../relay/policy.ts";
import { ipFrame, tcpFrame } from "./frame-guest.ts";
import { RELAY } from "./vde-world.ts";

export const PUBLIC = parseAddress("11.0.0.2");
export const POLICY = createPolicy({ own: () => [RELAY] });
export const to = (text: string): number => parseAddress(text);
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const change = (frame: Uint8Array, at: number, ...values: number[]): Uint8Array => {
  frame.set(values, at);
  return frame;
};
export const ping = (destination: number): Uint8Array =>
  ipFrame({ protocol: 1, destination }, encodeEcho(8, { id: 1, sequence: 1, data: bytes("ping") }));
export const syn = (destination: number, destinationPort = 80, sourcePort = 4000): Uint8Array =>
  tcpFrame({ destination, destinationPort, sourcePort, flags: FLAG.syn });

/** The other way round: source and destination, and ports, change places. */
export function mapBack(frame: Uint8Array): void {
  for (const [a, b, length] of [
    [26, 30, 4],
    [34, 36, 2],
  ] as const) {
    const one = frame.slice(a, a + length);
    frame.copyWithin(a, b, b + length);
    frame.set(one, b);
  }
}
