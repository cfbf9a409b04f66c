/**
 * What stands between a guest and the network. The relay (websockets, limits, rooms, forwards) knows engines by this
 * interface only; the embedded user-mode NAT is one, libslirp and the kernel's NAT behind vde_plug are others.
 */

/** The guest's end of a connection to the relay. */
export interface GuestPort {
  /** Gives the guest an Ethernet frame. The bytes must not be changed afterwards, until the port is `isEmpty`. */
  send(frame: Uint8Array): void;
  /** Nobody looks at any frame that was given: their memory may be used again. Who cannot say that leaves it out. */
  readonly isEmpty?: boolean;
  /** Bytes that were given and have not left yet: an engine stops reading from servers while they are many. */
  readonly queuedBytes: number;
  /** Called once when `queuedBytes` has become small again. */
  onDrain(listener: () => void): void;
  /** Says something to the user: why a connection was refused. Given at most a few times a second. */
  tell(message: Refusal): void;
}

/** A connection that was not made, for the page to show. */
export interface Refusal {
  kind: "policy" | "limit" | "unreachable";
  protocol: "tcp" | "udp" | "icmp" | "dns";
  /** As the guest asked for it: an address, or a name in DNS. */
  destination: string;
  port: number | null;
  /** "Cannot connect to 10.0.0.1: private addresses are not reachable from here" */
  text: string;
}

export type Protocol = "tcp" | "udp" | "icmp";

/** What the operator allows. It is asked with the address that is really connected to, at the moment of connecting. */
export interface Policy {
  /** @returns null when it is allowed, else why not */
  refuse(protocol: Protocol, address: string, port: number): string | null;
}

/** Addresses of the guest's little network, in dotted form. */
export interface Subnet {
  gateway: string;
  /** Where DNS answers; may be the gateway. */
  dns: string;
  guest: string;
  prefixLength: number;
  /** "02:…", the gateway's Ethernet address. */
  gatewayMac: string;
}

/** One guest at an engine. */
export interface EngineGuest {
  /** A frame from the guest: untrusted bytes. It never throws. */
  receive(frame: Uint8Array): void;
  /**
   * Connects to a TCP port of the guest, from the gateway's address.
   * @throws Error "Cannot connect to the guest's port 80: it refuses" and the like
   */
  connect(port: number, signal?: AbortSignal): Promise<import("node:stream").Duplex>;
  /** Sends a datagram to a UDP port of the guest; answers come to `onAnswer`. Returns a function that ends it. */
  openUdp(port: number, onAnswer: (data: Uint8Array) => void): { send(data: Uint8Array): void; close(): void };
  /** The guest's address by DHCP or ARP, null until it is known. */
  readonly address: string | null;
  readonly statistics: EngineStatistics;
  /** Ends all its connections. */
  close(): void;
}

export interface EngineStatistics {
  tcpOpen: number;
  udpOpen: number;
  /** Since the start. */
  tcpOpened: number;
  refused: number;
  /** Malformed or unknown frames, by layer. */
  dropped: Readonly<Record<string, number>>;
}

export interface Engine {
  /** @param address what DHCP gives the guest, for rooms in which guests see each other; the subnet's by default */
  attach(port: GuestPort, address?: string): EngineGuest;
  close(): Promise<void>;
}
