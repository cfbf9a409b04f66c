/**
 * What a warm boot hands over. While somebody edits, the spare machine is given the files of the project as it is; a boot
 * then has only to hand over what has changed since.
 */
import type { BuildFailure, DeltaRequest, DeltaResult, Overlay } from "../worker/api.ts";
import type { Delivery } from "./hand-over.ts";
import { bytesOf, contentsOf, outlineOf } from "./outline.ts";
import { kindOf, type Spare, type WarmBoots, type WarmWish } from "./warm.ts";

export type ComposeDelta = (request: DeltaRequest) => Promise<DeltaResult>;

/** A project's files, and the machine that they are for. */
export interface WarmProject {
  wish: WarmWish;
  overlay: Overlay;
  /** What tells one project from another. */
  id: string;
}

export interface WarmFiles {
  /** What a boot has to hand over to the machine that it takes next. Nothing is handed ahead meanwhile. */
  compose(project: WarmProject, compose: ComposeDelta): Promise<{ ok: true; delivery: Delivery } | BuildFailure>;
  /** Hands the spare machine what the next boot will probably want; of several projects only the last one. */
  handAhead(project: WarmProject): void;
}

/** A spare machine takes as much more memory. */
const MOST_BYTES_AHEAD = 64 * 1024 * 1024;
/** So long may a boot wait for what is under way: several times what the most takes. */
const PATIENCE_MS = 10_000;

/** What a spare has been handed. */
interface Held extends WarmProject {
  spare: Promise<Spare>;
  /** What is still to be done for this very overlay: directories' times. */
  records: Uint8Array;
}

/** @param ahead composes while nobody waits for it */
export function createWarmFiles(warm: Pick<WarmBoots, "spare" | "drop" | "keepSpare">, ahead: ComposeDelta): WarmFiles {
  let held: Held | null = null;
  let next: WarmProject | null = null;
  let handing: Promise<void> | null = null;
  let boots = 0;

  const heldBy = (spare: Promise<Spare> | null): Held | null => (held?.spare === spare ? held : null);

  const anew = async (wish: WarmWish): Promise<void> => {
    held = null;
    await warm.drop();
    await warm.keepSpare(wish);
  };

  const handOne = async (project: WarmProject): Promise<void> => {
    const { wish, overlay, id } = project;
    const since = boots;
    // Nothing of a project stays in the memory of a machine that another one runs in.
    if (heldBy(warm.spare()) && held?.id !== id) await anew(wish);
    const spare = warm.spare();
    const found = await spare?.catch(() => null);
    if (!spare || found?.kind !== kindOf(wish)) return;
    const before = heldBy(spare)?.overlay ?? null;
    // A project that changes nothing has nothing that would take time.
    if (before === overlay || (!before && overlay.length === 0)) return;
    const outline = outlineOf(overlay);
    const { memoryMb } = wish;
    const delta = await ahead({ overlay: outline, present: before && outlineOf(before), memoryMb });
    if (delta.ok && !delta.bytes && boots === since) {
      await anew(wish);
      if (boots === since) next ??= project;
      return;
    }
    const rest = await ahead({ overlay: outline, present: outline, memoryMb });
    // What cannot be built is said when it is booted.
    if (!delta.ok || !rest.ok || !delta.bytes || !rest.bytes || boots !== since || warm.spare() !== spare) return;
    held = null;
    try {
      await found.machine.takeIn({ records: delta.bytes, contents: contentsOf(overlay) });
      held = { spare, wish, overlay, id, records: rest.bytes };
    } catch {
      if (warm.spare() === spare) await anew(wish);
    }
  };

  const handAll = async (): Promise<void> => {
    while (next) {
      const project = next;
      next = null;
      await handOne(project).catch(() => {});
    }
    handing = null;
  };

  return {
    async compose({ wish, overlay, id }, compose) {
      boots += 1;
      next = null;
      if (handing) {
        // A machine that does not come back is given up; the boot gets a new one.
        const patience = setTimeout(() => void warm.drop(), PATIENCE_MS);
        await handing;
        clearTimeout(patience);
      }
      if (heldBy(warm.spare()) && held?.id !== id) await warm.drop();
      const found = heldBy(warm.spare());
      const isSame = found !== null && kindOf(found.wish) === kindOf(wish);
      const contents = contentsOf(overlay);
      if (isSame && found.overlay === overlay) return { ok: true, delivery: { records: found.records, contents } };
      const outline = outlineOf(overlay);
      const { memoryMb } = wish;
      let delta = await compose({ overlay: outline, present: isSame ? outlineOf(found.overlay) : null, memoryMb });
      if (delta.ok && !delta.bytes) {
        await warm.drop();
        delta = await compose({ overlay: outline, present: null, memoryMb });
      }
      if (!delta.ok) return delta;
      return { ok: true, delivery: { records: delta.bytes as Uint8Array, contents } };
    },
    handAhead(project) {
      if (bytesOf(project.overlay) > MOST_BYTES_AHEAD) return;
      next = project;
      handing ??= handAll();
    },
  };
}
