import type { AppState } from "../state.ts";

/** A piece of the page: an element, and a function that makes it show a state. */
export interface View {
  readonly element: HTMLElement;
  update(state: AppState): void;
  dispose?(): void;
}
