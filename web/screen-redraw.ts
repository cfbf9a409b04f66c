/** Takes work out of v86's text screen. */

/** v86's VGA. */
export interface Vga {
  graphical_mode: boolean;
  /** Draws every character of the text screen anew. */
  text_mode_redraw(): void;
}

/**
 * v86 draws all of the text screen after each change of a register or a colour, and a mode that is set changes hundreds: that
 * took a sixth of the time from power-on to the kernel's first line. Once does as well, when the slice in which they changed is over.
 */
export function redrawOnce(vga: Vga): void {
  const redraw = vga.text_mode_redraw.bind(vga);
  let isDue = false;
  vga.text_mode_redraw = () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      if (!vga.graphical_mode) redraw();
    });
  };
}
