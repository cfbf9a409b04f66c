import type { NetworkState } from "./state.ts";

export const LIST_PORTS = "netstat -ltunp 2>/dev/null";

/** What busybox's `netstat -ltunp` prints: protocol, queues, local address, foreign address, state, PID/program. */
export function readPorts(output: string): NetworkState["listening"] {
  const found = new Map<string, NetworkState["listening"][number]>();
  for (const line of output.split("\n")) {
    const [, protocol, address, port, rest] = /^(tcp|udp)\S*\s+\d+\s+\d+\s+(\S+):(\d+)\s+\S+\s*(.*)$/.exec(line) ?? [];
    if (protocol === undefined || port === undefined) continue;
    // Nobody outside reaches what listens on the guest's own loopback.
    if (address?.startsWith("127.") || address === "::1") continue;
    const program = /\d+\/(\S+)/.exec(rest ?? "")?.[1] ?? "";
    // The DHCP client's own.
    if (program === "udhcpc") continue;
    found.set(`${protocol}${port}`, { port: Number(port), protocol: protocol as "tcp" | "udp", program });
  }
  return [...found.values()].sort((a, b) => a.port - b.port);
}
