/** What the page says of the network's work, in English. */
export const enNetworkWork = {
  /** The relay speaks English. */
  fromRelay: (words: string) => words,
  noneHere: "This page's server has no relay.",
  tabsNeedSecure:
    "Cannot join the room: without a relay a room joins tabs of this browser, which find one another only on pages from https:// or from this computer.",
  broken: "The connection to the relay broke.",
  unreachable: (address: string) => `No relay answers at ${address}.`,
  machineOff: "The machine is off.",
  offline: (reason: string) => `Cannot reach the relay: the guest is offline. ${reason}`.trim(),
  badPort: (port: number) => `Cannot forward port ${port}: ports are whole numbers from 1 to 65535`,
  roomElsewhere: (room: string, relay: string) => `This link leads to the room ${room} on another relay, ${relay}.`,
  forwardsMoved: "The relay knew this guest no more: its forwards have new addresses.",
  joinThere: "Join there",
  badRelay: (address: string) => `Cannot use ${address}: a relay's address begins with ws:// or wss://`,
};
