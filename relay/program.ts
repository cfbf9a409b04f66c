/** The relay as a program: reads its options, says what it does, and ends in order. */
import { pino } from "pino";
import { MTU, SUBNET } from "./embedded.ts";
import { createEngine } from "./engines.ts";
import { describeOptions, type RelayOptions, readOptions } from "./options.ts";
import { createRedisBus } from "./room-bus.ts";
import { type Relay, type RelayParts, startRelay } from "./server.ts";

/** What answers for the page. */
export type Site = Pick<RelayParts, "site" | "upgrade">;

/**
 * Runs it with this process's arguments; the process ends with a sentence when it cannot.
 * @param openSite is called when there is something to serve. @throws Error with a sentence
 */
export async function runRelay(openSite: (options: RelayOptions) => Site | Promise<Site>): Promise<void> {
  try {
    const options = readOptions(process.argv.slice(2), process.env);
    if ("help" in options) process.stdout.write(options.help);
    else await run(options, await openSite(options));
  } catch (error) {
    console.error((error as Error).message);
    process.exit(1);
  }
}

async function run(options: RelayOptions, site: Site): Promise<void> {
  // Standard output is for people, the log for programs.
  const log = pino({ level: options.logLevel, base: null }, pino.destination(2));
  const bus =
    options.redis === null
      ? undefined
      : await createRedisBus(options.redis, (problem) => log.error({ problem }, "redis"));
  const engine = await createEngine(options, (problem) => log.error({ problem }, "engine"));
  let relay: Relay;
  try {
    relay = await startRelay(options, {
      engine,
      subnet: SUBNET,
      mtu: MTU,
      ...site,
      log,
      ...(bus && { bus }),
    });
  } catch (error) {
    await engine.close();
    throw new Error(`Cannot listen on port ${options.port}: ${why(error as NodeJS.ErrnoException)}`);
  }
  for (const line of describeOptions(options)) console.log(line);
  console.log(`smart-os is ready: http://localhost:${relay.port}/`);
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => {
      void relay.close().then(() => process.exit(0));
    });
}

function why(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "EADDRINUSE":
      return "another program uses it; set PORT to a free one";
    case "EACCES":
      return "this user may not; set PORT to a number above 1023";
    case "EADDRNOTAVAIL":
      return "this computer has no such address; set HOST to one of its own";
    default:
      return error.message;
  }
}
