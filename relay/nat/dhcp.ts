/**
 * The server's side of DHCP (RFC 2131, options of RFC 2132) for the one guest of a link: it always gets the same address.
 *
 *   0    1       2      3      4     8      10      12       16       20       24       28       44      108    236
 *   | op | htype | hlen | hops | xid | secs | flags | ciaddr | yiaddr | siaddr | giaddr | chaddr | sname | file | cookie, options
 *
 * Limitations: no relay agents (giaddr), no options in sname and file.
 */
import { copyOf, getU16, getU32, setU16, setU32 } from "./words.ts";

export const DHCP_PORT = { server: 67, client: 68 } as const;

export const DHCP_TYPE = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;

export const DHCP_OPTION = {
  mask: 1,
  router: 3,
  dns: 6,
  mtu: 26,
  broadcast: 28,
  requestedAddress: 50,
  leaseTime: 51,
  type: 53,
  server: 54,
  renewal: 58,
  rebinding: 59,
} as const;

const HEADER = 240;
const MAGIC_COOKIE = 0x63825363;
const BROADCAST_FLAG = 0x8000;
/** A BOOTP client may not look at shorter ones (RFC 1542, 2.1). */
const MIN_LENGTH = 300;
const LEASE_S = 86_400;

export interface DhcpMessage {
  op: number;
  xid: number;
  flags: number;
  clientAddress: number;
  yourAddress: number;
  hardwareAddress: Uint8Array;
  type: number;
  options: ReadonlyMap<number, Uint8Array>;
}

/** @returns null when it is not a DHCP message over Ethernet */
export function decodeDhcp(bytes: Uint8Array): DhcpMessage | null {
  if (bytes.length < HEADER || bytes[1] !== 1 || bytes[2] !== 6 || getU32(bytes, 236) !== MAGIC_COOKIE) return null;
  const options = new Map<number, Uint8Array>();
  for (let at = HEADER; at < bytes.length; ) {
    const code = bytes[at] as number;
    if (code === 255) break;
    if (code === 0) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) return null;
    options.set(code, copyOf(bytes, at + 2, at + 2 + length));
    at += 2 + length;
  }
  const type = options.get(DHCP_OPTION.type);
  if (type?.length !== 1) return null;
  return {
    op: bytes[0] as number,
    xid: getU32(bytes, 4),
    flags: getU16(bytes, 10),
    clientAddress: getU32(bytes, 12),
    yourAddress: getU32(bytes, 16),
    hardwareAddress: copyOf(bytes, 28, 34),
    type: type[0] as number,
    options,
  };
}

export function encodeDhcp(message: DhcpMessage & { serverAddress?: number }): Uint8Array {
  let length = HEADER + 1;
  for (const value of message.options.values()) length += 2 + value.length;
  const bytes = new Uint8Array(Math.max(MIN_LENGTH, length));
  bytes[0] = message.op;
  bytes[1] = 1;
  bytes[2] = 6;
  setU32(bytes, 4, message.xid);
  setU16(bytes, 10, message.flags);
  setU32(bytes, 12, message.clientAddress);
  setU32(bytes, 16, message.yourAddress);
  setU32(bytes, 20, message.serverAddress ?? 0);
  bytes.set(message.hardwareAddress, 28);
  setU32(bytes, 236, MAGIC_COOKIE);
  let at = HEADER;
  for (const [code, value] of message.options) {
    bytes[at] = code;
    bytes[at + 1] = value.length;
    bytes.set(value, at + 2);
    at += 2 + value.length;
  }
  bytes[at] = 255;
  return bytes;
}

export interface DhcpConfiguration {
  guest: number;
  gateway: number;
  dns: number;
  mask: number;
  broadcast: number;
  mtu: number;
}

export interface DhcpAnswer {
  message: Uint8Array;
  /** 255.255.255.255, or the guest's address, which it may not have taken yet. */
  destination: number;
  hardwareAddress: Uint8Array;
  /** The guest has the address now. */
  isBound: boolean;
}

/** Answers a client's message (RFC 2131, 4.3). @returns null when nothing is to be said */
export function answerDhcp(request: DhcpMessage, configuration: DhcpConfiguration): DhcpAnswer | null {
  if (request.op !== 1) return null;
  const { guest, gateway } = configuration;
  const server = request.options.get(DHCP_OPTION.server);
  if (server && (server.length !== 4 || getU32(server, 0) !== gateway)) return null;
  switch (request.type) {
    case DHCP_TYPE.discover:
      return answer(request, configuration, DHCP_TYPE.offer, guest);
    case DHCP_TYPE.request: {
      const requested = request.options.get(DHCP_OPTION.requestedAddress);
      const wanted = requested?.length === 4 ? getU32(requested, 0) : request.clientAddress;
      return answer(request, configuration, wanted === guest ? DHCP_TYPE.ack : DHCP_TYPE.nak, guest);
    }
    case DHCP_TYPE.inform:
      return answer(request, configuration, DHCP_TYPE.ack, 0);
    default:
      return null;
  }
}

function answer(request: DhcpMessage, configuration: DhcpConfiguration, type: number, yourAddress: number): DhcpAnswer {
  const { gateway, dns, mask, broadcast, mtu } = configuration;
  const options = new Map([
    [DHCP_OPTION.type as number, Uint8Array.of(type)],
    [DHCP_OPTION.server, address(gateway)],
  ]);
  const isNak = type === DHCP_TYPE.nak;
  if (!isNak) {
    options.set(DHCP_OPTION.mask, address(mask));
    options.set(DHCP_OPTION.router, address(gateway));
    options.set(DHCP_OPTION.dns, address(dns));
    options.set(DHCP_OPTION.broadcast, address(broadcast));
    options.set(DHCP_OPTION.mtu, Uint8Array.of(mtu >>> 8, mtu & 255));
    // An INFORM has its address from elsewhere: no lease (RFC 2131, 4.3.5).
    if (yourAddress !== 0) {
      options.set(DHCP_OPTION.leaseTime, address(LEASE_S));
      options.set(DHCP_OPTION.renewal, address(LEASE_S / 2));
      options.set(DHCP_OPTION.rebinding, address((LEASE_S * 7) / 8));
    }
  }
  // RFC 2131, 4.1: to its address if it has one, to all if it asks for that or is refused.
  const destination =
    isNak || (request.clientAddress === 0 && request.flags & BROADCAST_FLAG)
      ? 0xffffffff
      : request.clientAddress || yourAddress;
  const message = encodeDhcp({
    op: 2,
    xid: request.xid,
    flags: request.flags,
    clientAddress: type === DHCP_TYPE.ack ? request.clientAddress : 0,
    yourAddress: isNak ? 0 : yourAddress,
    hardwareAddress: request.hardwareAddress,
    type,
    options,
    serverAddress: isNak ? 0 : gateway,
  });
  return {
    message,
    destination,
    hardwareAddress: request.hardwareAddress,
    isBound: type === DHCP_TYPE.ack && yourAddress !== 0,
  };
}

/** Four bytes: an address or a number of seconds. */
function address(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  setU32(bytes, 0, value);
  return bytes;
}
