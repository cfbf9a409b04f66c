/** At most ten calls a second. The last is not made for sure: what it would show is over, or not worth showing. */
export function throttle(show: (done: number) => void): (done: number) => void {
  let last = 0;
  return (done) => {
    const now = performance.now();
    if (now - last < 100) return;
    last = now;
    show(done);
  };
}
