/** The handle between before and after; a slider for the keyboard and screen readers as well. */
export function makeSwipe(handle: HTMLElement, maps: HTMLElement): void {
  const place = (share: number) => {
    const percent = Math.round(Math.min(Math.max(share, 0), 1) * 1000) / 10;
    maps.style.setProperty("--swipe", `${percent}%`);
    handle.setAttribute("aria-valuenow", String(Math.round(percent)));
    handle.setAttribute("aria-valuetext", `${Math.round(percent)} % before`);
  };
  const now = () => Number(handle.getAttribute("aria-valuenow")) / 100;
  handle.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    handle.focus();
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const { left, width } = maps.getBoundingClientRect();
    place((event.clientX - left) / width);
  });
  handle.addEventListener("keydown", (event) => {
    const steps: Record<string, number> = { ArrowLeft: now() - 0.05, ArrowRight: now() + 0.05, Home: 0, End: 1 };
    const share = steps[event.key];
    if (share === undefined) return;
    event.preventDefault();
    place(share);
  });
  place(0.5);
}
