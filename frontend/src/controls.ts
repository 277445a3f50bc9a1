/** Buttons, sliders and figures around the map. What they do is decided by whoever listens. */
import type { Histogram, Item, ItemApi } from "./api.ts";
import { byId, element } from "./dom.ts";
import { tally, type Entry, type Filter, type Order, type VerdictFilter } from "./entries.ts";
import { area, count, percent, wilson } from "./format.ts";
import type { ViewMode } from "./maps.ts";
import type { Review } from "./review.ts";
import type { ScoreLook } from "./scoreLayer.ts";

const HISTOGRAM_BARS = 100;
const WHO = "changedet.who";

interface Listed {
  entries: Entry[];
  total: number;
  shown: number;
  scale: number;
  item: Item;
}

export class Controls {
  private readonly threshold = byId<HTMLInputElement>("threshold");
  private readonly thresholdNumber = byId<HTMLInputElement>("threshold-number");
  private readonly whoInput = byId<HTMLInputElement>("who");
  private reading = "";

  constructor(who: string | null) {
    this.whoInput.value = localStorage.getItem(WHO) ?? who ?? "";
    this.whoInput.addEventListener("change", () => localStorage.setItem(WHO, this.whoInput.value));
  }

  get mode(): ViewMode {
    return document.querySelector<HTMLInputElement>("#modes input:checked")!.value as ViewMode;
  }

  get look(): Pick<ScoreLook, "showScore" | "showMask" | "opacity"> {
    return {
      showMask: byId<HTMLInputElement>("show-mask").checked,
      showScore: byId<HTMLInputElement>("show-score").checked,
      opacity: byId<HTMLInputElement>("opacity").valueAsNumber / 100,
    };
  }

  get showOutlines(): boolean {
    return byId<HTMLInputElement>("show-outlines").checked;
  }

  get order(): Order {
    return byId<HTMLSelectElement>("sort").value as Order;
  }

  get filter(): Filter {
    const number = (id: string) => byId<HTMLInputElement>(id).valueAsNumber || 0;
    return {
      verdict: byId<HTMLSelectElement>("filter-verdict").value as VerdictFilter,
      minArea: number("filter-area"),
      minScore: number("filter-score"),
    };
  }

  get who(): string | null {
    return this.whoInput.value.trim() || null;
  }

  showItem(item: Item, api: ItemApi): void {
    byId("item-name").textContent = item.name;
    document.title = `${item.name}: changedet view`;
    byId("area-unit").textContent = item.pixel_area_m2 === null ? "px" : "m²";
    for (const format of ["geojson", "gpkg", "csv"] as const) byId<HTMLAnchorElement>(`export-${format}`).href = api.export(format);
    byId("histogram").classList.remove("ready");
    const facts: [string, string | null][] = [
      ["Before", item.before],
      ["After", item.after],
      ["Model", item.model],
      ["Kind of change", item.change_kind],
      ["Threshold", String(item.threshold)],
      ["Size", `${count(item.width)} × ${count(item.height)} px`],
      ["CRS", item.crs ?? "none: places are pixels"],
      ["Made", item.created && new Date(item.created).toLocaleString()],
      ...item.remarks.map(({ severity, text }): [string, string] => [severity === "warning" ? "Warning" : "Note", text]),
    ];
    const list = byId("about").querySelector("dl")!;
    list.replaceChildren(...facts.flatMap(([name, text]) => (text ? [element("dt", {}, name), element("dd", {}, text)] : [])));
  }

  showMode(mode: ViewMode): void {
    document.querySelector<HTMLInputElement>(`#modes input[value=${mode}]`)!.checked = true;
  }

  showThreshold(threshold: number, changed: { pixels: number; areaM2: number | null; share: number | null } | null): void {
    this.threshold.value = String(Math.round(threshold * 1000));
    this.threshold.setAttribute("aria-valuetext", threshold.toFixed(3));
    if (document.activeElement !== this.thresholdNumber) this.thresholdNumber.value = String(Number(threshold.toFixed(4)));
    const all = `polygon(${threshold * 100}% 0, 100% 0, 100% 100%, ${threshold * 100}% 100%)`;
    document.querySelector<SVGPathElement>("#histogram .changed")!.style.clipPath = all;
    if (!changed) {
      byId("count").textContent = "Counting…";
      return;
    }
    const parts = [
      changed.areaM2 === null ? `${count(changed.pixels)} px changed` : `${area(changed.areaM2)} changed`,
      changed.share === null ? "no pixel has data" : `${percent(changed.share)} of all pixels with data`,
    ];
    byId("count").textContent = parts.join(", ");
  }

  /** How many pixels have which score, in logarithms: most are near 0. */
  showHistogram({ counts, steps }: Histogram): void {
    const bars = new Float64Array(HISTOGRAM_BARS);
    counts.forEach((pixels, code) => (bars[Math.min(Math.floor((code / steps) * HISTOGRAM_BARS), HISTOGRAM_BARS - 1)]! += pixels));
    const most = Math.log1p(Math.max(...bars));
    const path = Array.from(bars, (pixels, bar) => {
      const height = most ? (Math.log1p(pixels) / most) * 24 : 0;
      return `M${bar} 24v${-height.toFixed(2)}h1v${height.toFixed(2)}z`;
    }).join("");
    for (const part of document.querySelectorAll("#histogram path")) part.setAttribute("d", path);
    byId("histogram").classList.add("ready");
  }

  showReading(share: number): void {
    this.reading = share < 1 ? `Reading scores to outline them: ${Math.floor(share * 100)} %` : "";
    if (this.reading) byId("shown").textContent = this.reading;
  }

  showReview(review: Review, { entries, total, shown, scale, item }: Listed): void {
    const { listed, reviewed, accepted } = tally(entries);
    byId("reviewed").textContent = `Reviewed ${count(reviewed)} of ${count(total)}`;
    byId<HTMLProgressElement>("progress").value = total ? reviewed / total : 0;
    byId("precision").textContent = this.precision(reviewed, accepted, total);
    const cut = total > listed ? ` The ${count(listed)} first in this order are listed.` : "";
    const coarse = scale > 1 ? ` Outlines at this threshold come from an overview: 1 px of ${scale} × ${scale}.` : "";
    byId("shown").textContent = `${count(shown)} of ${count(Math.max(total, entries.length))} shown.${cut}${coarse}`;
    this.showSaved(review, item);
  }

  private precision(reviewed: number, accepted: number, total: number): string {
    if (!reviewed) return "No verdict yet: accept (A) or reject (R) what the model found.";
    const [low, high] = wilson(accepted, reviewed);
    const rest = total - reviewed;
    const expected = (share: number) => count(accepted + rest * share);
    const random = this.order === "random" ? "" : " Unbiased only in random order.";
    return (
      `Precision so far ${percent(accepted / reviewed)} (95 % interval ${percent(low)} to ${percent(high)}); ` +
      `of all ${count(total)}, about ${expected(accepted / reviewed)} (${expected(low)} to ${expected(high)}) would be right.${random}`
    );
  }

  private showSaved(review: Review, item: Item): void {
    const saved = byId("saved");
    const verdicts = review.waiting === 1 ? "1 verdict is" : `${review.waiting} verdicts are`;
    const kept = review.waiting ? ` ${verdicts} kept here and sent when it is back.` : "";
    const texts = {
      lost: `Connection lost: the server of changedet view does not answer.${kept}`,
      locked: `The server was started anew: open the address that it printed, in this browser.${kept}`,
      ok: review.waiting ? "Saving…" : review.rows.size ? "All verdicts are saved" : "",
    };
    saved.textContent = item.writable || review.connection !== "ok" ? texts[review.connection] : (item.read_only_reason ?? "Read-only");
    saved.className = review.connection !== "ok" || !item.writable ? "bad" : "";
  }

  showDrawing(text: string | null): void {
    byId("drawing").hidden = text === null;
    byId("drawing-text").textContent = text ? `${text}. Space: corner in the middle.` : "";
    byId("draw").setAttribute("aria-pressed", String(text !== null));
    if (text === null) byId("crosshair").hidden = true;
  }
}
