/** The engine that the operator has chosen. */
import { createEmbedded, MTU, SUBNET } from "./embedded.ts";
import type { Engine } from "./engine.ts";
import type { RelayOptions } from "./options.ts";
import { createPolicy } from "./policy.ts";
import { createKernelEngine } from "./vde/kernel-engine.ts";
import { createSlirpEngine } from "./vde/slirp-engine.ts";

/** @throws Error "Cannot use the kernel engine: …" */
export async function createEngine(
  options: Pick<RelayOptions, "engine" | "allow" | "deny">,
  onProblem: (words: string) => void,
): Promise<Engine> {
  const nat = createEmbedded(options);
  if (options.engine === "embedded") return nat;
  const create = options.engine === "slirp" ? createSlirpEngine : createKernelEngine;
  return await create({ nat, policy: createPolicy(options), subnet: SUBNET, mtu: MTU, onProblem });
}
