/** A boot as it goes on: what the machine tells of itself goes into the watch with its time, and that nothing comes is noticed. */
import { type BootWatch, createBootWatch } from "./boot.ts";
import type { Phase } from "./state.ts";
import type { MachineEvents } from "./warm.ts";

export interface BootFollow {
  readonly watch: BootWatch;
  /** What a machine is given to tell itself to. */
  listen(): MachineEvents;
  /** A phase begins of which the machine does not tell. */
  enter(phase: Phase): void;
  /** Another machine begins anew, in the time that is left. */
  begin(): void;
  /** The machine was switched on so long ago, in a page that is no more. */
  setUptime(ms: number): void;
  /** The silence begins anew. */
  touch(): void;
  /** Whether a shell should have come by now. */
  isLate(): boolean;
}

export interface BootFollowParts extends Pick<MachineEvents, "onSerial" | "onChannel" | "onFrame" | "onTrouble"> {
  watch: BootWatch;
  /** Nobody listens any more. */
  hasEnded(): boolean;
  /** The watch has heard something. @param isNewPhase the timeline has changed */
  onNews(isNewPhase: boolean): void;
  /** The processor stopped, and neither was that to be expected nor has anybody said why. */
  onFault(): void;
}

/** No output and no shell for this long: the page speaks up, the machine goes on. */
const SILENCE_MS = 15_000;
/** Output but no shell for this long, likewise. */
const PATIENCE_MS = 60_000;

export function createBootFollow(parts: BootFollowParts): BootFollow {
  const { hasEnded, onNews } = parts;
  let { watch } = parts;
  let startedAt = performance.now();
  let lastOutputAt = startedAt;

  const elapsed = (): number => performance.now() - startedAt;
  const touch = (): void => {
    lastOutputAt = performance.now();
  };
  return {
    get watch() {
      return watch;
    },
    listen() {
      const decoder = new TextDecoder();
      return {
        onSerial(bytes) {
          if (hasEnded()) return;
          touch();
          parts.onSerial(bytes);
          const { phase } = watch;
          watch.serial(decoder.decode(bytes, { stream: true }), elapsed());
          onNews(phase !== watch.phase);
        },
        onChannel: parts.onChannel,
        onFrame(frame) {
          if (!hasEnded()) parts.onFrame(frame);
        },
        onBios(line) {
          touch();
          watch.bios(line, elapsed());
          onNews(false);
        },
        onHalt() {
          // A panic and a power-off say so on the serial line first; anything else that stops the processor is a fault.
          if (!watch.failure && !watch.end && !hasEnded()) parts.onFault();
        },
        onHandedOver() {
          watch.enter("initramfs", elapsed());
          onNews(true);
        },
        onTrouble: parts.onTrouble,
      };
    },
    enter: (phase) => watch.enter(phase, elapsed()),
    begin() {
      watch = createBootWatch();
    },
    setUptime(ms) {
      startedAt = performance.now() - ms;
    },
    touch,
    isLate() {
      const now = performance.now();
      return now - lastOutputAt > SILENCE_MS || now - startedAt > PATIENCE_MS;
    },
  };
}
