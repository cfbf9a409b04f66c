const PICTURE_WIDTH = 240;

/** The screen as a small picture, when it shows graphics: text is drawn only while somebody looks. */
export function takePicture(screen: HTMLElement): string | null {
  const canvas = screen.querySelector("canvas");
  if (!canvas || canvas.style.display === "none" || canvas.width === 0 || canvas.height === 0) return null;
  try {
    const small = document.createElement("canvas");
    small.width = PICTURE_WIDTH;
    small.height = Math.round((PICTURE_WIDTH * canvas.height) / canvas.width);
    small.getContext("2d")?.drawImage(canvas, 0, 0, small.width, small.height);
    return small.toDataURL("image/png");
  } catch {
    return null;
  }
}
