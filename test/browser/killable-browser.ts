import { type ChildProcess, spawn } from "node:child_process";
import { type BrowserContext, chromium } from "playwright-core";
import { CHROMIUM_ARGUMENTS, chromiumPath } from "./chromium.ts";

export interface KillableBrowser {
  context: BrowserContext;
  /** As in a crash, or when the system runs out of memory. Resolves when it is gone, at once when it is gone already. */
  kill(): Promise<void>;
}

/** A browser with a profile that outlives it, in a process group of its own that ends by SIGKILL. */
export async function startKillableBrowser(profile: string): Promise<KillableBrowser> {
  const child: ChildProcess = spawn(
    chromiumPath(),
    [...CHROMIUM_ARGUMENTS, "--headless=new", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"],
    { detached: true, stdio: ["ignore", "ignore", "pipe"] },
  );
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null && child.pid) process.kill(-child.pid, "SIGKILL");
    await ended;
  };
  try {
    const address = await new Promise<string>((resolve, reject) => {
      let log = "";
      child.stderr?.on("data", (bytes: Buffer) => {
        log += bytes.toString();
        const found = /DevTools listening on (ws:\S+)/.exec(log);
        if (found) resolve(found[1] as string);
      });
      child.once("exit", () => reject(new Error(`The browser ended: ${log.slice(-500)}`)));
    });
    const connected = await chromium.connectOverCDP(address);
    return { context: connected.contexts()[0] as BrowserContext, kill };
  } catch (error) {
    await kill();
    throw error;
  }
}
