/**
 * Pings beyond the gateway. Node can open neither raw nor ping sockets, so the system's own `ping` is run, once for each
 * echo: its answer is true, or there is none.
 */
import { spawn } from "node:child_process";

/**
 * `reply`: the host answered. `silence`: it did not, in time. `unsupported`: this system cannot ping.
 */
export type PingResult = { kind: "reply"; ttl: number | null } | { kind: "silence" } | { kind: "unsupported" };

export type Pinger = (address: string, echo: { ttl: number; dataLength: number }) => Promise<PingResult>;

const WAIT_S = 3;
/** What other systems send without asking; a larger echo could be one of a flood. */
const MAX_DATA = 1472;

/** @param program its options are those of iputils, BusyBox and macOS, where they agree */
export function createPinger(program = "ping"): Pinger {
  const isMac = process.platform === "darwin";
  let isMissing = false;
  return (address, echo) =>
    new Promise((resolve) => {
      if (isMissing || process.platform === "win32" || echo.dataLength > MAX_DATA)
        return resolve({ kind: "unsupported" });
      const wait = isMac ? WAIT_S * 1000 : WAIT_S;
      const options = ["-c", "1", "-W", `${wait}`, "-s", `${echo.dataLength}`, isMac ? "-m" : "-t", `${echo.ttl}`];
      const child = spawn(program, [...options, address], {
        stdio: ["ignore", "pipe", "ignore"],
        // Its words are read: they are to be English.
        env: { PATH: process.env.PATH, LC_ALL: "C" },
      });
      let output = "";
      const deadline = setTimeout(() => child.kill("SIGKILL"), WAIT_S * 1000 + 2000);
      child.stdout.on("data", (chunk: Buffer) => {
        if (output.length < 4096) output += chunk.toString("latin1");
      });
      child.on("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(deadline);
        isMissing = error.code === "ENOENT";
        resolve({ kind: "unsupported" });
      });
      child.on("close", (status) => {
        clearTimeout(deadline);
        // 0: an answer came; 1 (macOS: 2): none came; otherwise it could not even ask.
        const ttl = /ttl=(\d+)/i.exec(output)?.[1];
        if (status === 0) resolve({ kind: "reply", ttl: ttl === undefined ? null : Number(ttl) });
        else resolve({ kind: status === null || /\b0 (packets )?received/.test(output) ? "silence" : "unsupported" });
      });
    });
}
