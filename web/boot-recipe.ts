/** What a machine is made of: the parts of a project that decide how it boots. */
import type { BuildRequest, CustomKernel } from "../worker/api.ts";
import type { NetworkCard } from "./machine.ts";
import type { WarmWish } from "./warm.ts";
import type { WarmProject } from "./warm-files.ts";

export interface BootRecipe {
  /** What tells the project from others; "" when nobody knows. */
  projectId: string;
  overlay: BuildRequest["overlay"];
  commandLine: string;
  memoryMb: number;
  card: NetworkCard;
  /** The project's own; null: the one that was built. */
  kernel: CustomKernel | null;
}

export function wishOf({ commandLine, memoryMb, card, kernel }: BootRecipe): WarmWish {
  return { commandLine: commandLine.trim(), memoryMb, card, kernel };
}

export function projectOf(recipe: BootRecipe): WarmProject {
  return { wish: wishOf(recipe), overlay: recipe.overlay, id: recipe.projectId };
}
