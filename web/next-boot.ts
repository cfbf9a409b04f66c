/** What of the next boot is done before it is asked for: a machine that waits, and the project's files in it. */
import type { DeltaRequest, DeltaResult } from "../worker/api.ts";
import { type BootRecipe, projectOf, wishOf } from "./boot-recipe.ts";
import type { BootMode } from "./state.ts";
import type { WarmBoots } from "./warm.ts";
import { createWarmFiles, type WarmFiles } from "./warm-files.ts";

export interface NextBoot {
  /** What will probably be asked for: the machine that waits takes the files when no more edits come. */
  expect(recipe: BootRecipe): void;
  /** What is asked for now. */
  begin(recipe: BootRecipe): void;
  /** What a warm boot has to hand over. */
  compose: WarmFiles["compose"];
  /**
   * A machine has come to its prompt: once it has come to rest, another one is made that waits, or a state for one.
   * @param mode how the machine has booted
   * @param isOver whether it has ended meanwhile
   */
  prepare(recipe: BootRecipe, mode: BootMode, isOver: () => boolean): void;
}

export interface NextBootParts {
  warm: WarmBoots;
  composeDelta(request: DeltaRequest, options: { signal?: AbortSignal }): Promise<DeltaResult>;
  /** Whether a boot is under way, which must not be kept waiting. */
  isBooting(): boolean;
}

/** After a prompt the shell and what the init scripts have left in the background come to rest for so long. */
const SPARE_MS = 1_500;
/** An edit is over when nothing more has come for so long. */
const EDIT_MS = 400;

export function createNextBoot({ warm, composeDelta, isBooting }: NextBootParts): NextBoot {
  const files = createWarmFiles(warm, (request) => composeDelta(request, {}));
  let expected: BootRecipe | null = null;
  let editing: ReturnType<typeof setTimeout> | undefined;

  /** The machine that waits takes the files of the project as it is. */
  const handAhead = (): void => {
    if (expected && !isBooting()) files.handAhead(projectOf(expected));
  };
  return {
    expect(recipe) {
      expected = recipe;
      clearTimeout(editing);
      editing = setTimeout(handAhead, EDIT_MS);
    },
    begin(recipe) {
      expected = recipe;
    },
    compose: files.compose,
    prepare(recipe, mode, isOver) {
      const wish = wishOf(recipe);
      setTimeout(() => {
        if (isOver()) return;
        // What cannot be made is not missed: the next boot is a cold one.
        if (mode === "warm") void warm.keepSpare(wish).then(handAhead, () => {});
        else void warm.makeOwn(wish).catch(() => {});
      }, SPARE_MS);
    },
  };
}
