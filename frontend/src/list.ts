/** The list of changes on the page, with thumbnails of both dates. */
import type { ItemApi } from "./api.ts";
import { byId, element } from "./dom.ts";
import type { Entry } from "./entries.ts";
import { count, size } from "./format.ts";
import type { Box, Grid } from "./grid.ts";

const THUMBNAIL_PX = 64;
const ROWS_AT_ONCE = 40;

const WORDS = { accepted: "accepted", rejected: "rejected", drawn: "drawn", edited: "outlined anew" };
const SIGNS = { accepted: "✓", rejected: "✗", drawn: "✎", edited: "✓" };

export function verdictWord(entry: Entry): string {
  return entry.row ? WORDS[entry.row.verdict] : "not reviewed";
}

export function title(entry: Entry): string {
  if (entry.candidate?.id != null) return `Change ${entry.candidate.id}`;
  return entry.row?.verdict === "drawn" ? "Drawn change" : "Change";
}

/** A square around a box, with its surroundings. */
export function surroundings(box: Box, grid: Grid): Box {
  const side = Math.min(Math.max(box[2] - box[0], box[3] - box[1], 12) * 1.6, Math.max(grid.width, grid.height));
  const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  return grid.clip([x - side / 2, y - side / 2, x + side / 2, y + side / 2].map((edge) => Math.round(edge * 10) / 10) as Box);
}

export class List {
  private readonly root = byId<HTMLOListElement>("entries");
  private readonly buttons = new Map<string, HTMLButtonElement>();
  private entries: Entry[] = [];
  private selected: string | null = null;
  private readonly end: IntersectionObserver;

  constructor(
    private readonly api: ItemApi,
    private readonly grid: Grid,
    private readonly choose: (entry: Entry) => void,
  ) {
    this.root.replaceChildren();
    this.end = new IntersectionObserver((seen) => {
      if (seen.some((one) => one.isIntersecting)) this.extend(this.buttons.size + ROWS_AT_ONCE);
    });
  }

  close(): void {
    this.end.disconnect();
  }

  /** Show other entries, or the same ones in another order. */
  show(entries: Entry[], selected: string | null): void {
    const rows = Math.max(Math.min(this.buttons.size, entries.length), ROWS_AT_ONCE);
    this.entries = entries;
    this.selected = selected;
    this.buttons.clear();
    this.root.replaceChildren();
    this.extend(rows);
  }

  /** Show the verdicts of the same entries. */
  update(entries: Entry[], selected: string | null): void {
    this.entries = entries;
    this.selected = selected;
    for (const entry of entries) {
      const button = this.buttons.get(entry.key);
      if (button) this.fill(button, entry);
    }
  }

  select(key: string | null): void {
    const index = this.entries.findIndex((entry) => entry.key === key);
    if (index >= this.buttons.size) this.extend(index + 1 + ROWS_AT_ONCE);
    this.update(this.entries, key);
    if (key) this.buttons.get(key)?.scrollIntoView({ block: "nearest" });
  }

  focusSelected(): void {
    (this.buttons.get(this.selected ?? "") ?? this.root.querySelector("button"))?.focus();
  }

  private extend(rows: number): void {
    for (const entry of this.entries.slice(this.buttons.size, rows)) {
      const box = surroundings(entry.bbox, this.grid);
      const picture = (date: "before" | "after") =>
        element("img", {
          src: this.api.thumbnail(date, box, THUMBNAIL_PX * 2),
          alt: "",
          loading: "lazy",
          width: THUMBNAIL_PX,
          height: THUMBNAIL_PX,
        });
      const button = element("button", { type: "button", class: "entry" }, picture("before"), picture("after"), element("span", { class: "text" }));
      button.addEventListener("click", () => {
        const now = this.entries.find((one) => one.key === entry.key);
        if (now) this.choose(now);
      });
      this.fill(button, entry);
      this.buttons.set(entry.key, button);
      this.root.append(element("li", {}, button));
    }
    this.end.disconnect();
    const last = this.root.lastElementChild;
    if (last && this.buttons.size < this.entries.length) this.end.observe(last);
  }

  private fill(button: HTMLButtonElement, entry: Entry): void {
    const verdict = entry.row?.verdict;
    button.dataset["verdict"] = verdict ?? "open";
    if (entry.key === this.selected) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    const parts: Node[] = [
      element("b", {}, title(entry)),
      element("span", {}, size(entry.pixels, entry.areaM2)),
    ];
    if (entry.meanScore !== null) parts.push(element("span", { class: "fine" }, `score ${entry.meanScore.toFixed(2)}`));
    const sign = verdict ? `${SIGNS[verdict]} ` : "";
    parts.push(element("span", { class: `badge ${verdict ?? "open"}` }, `${sign}${verdictWord(entry)}`));
    if (entry.row?.note) parts.push(element("span", { class: "fine note" }, entry.row.note));
    button.querySelector(".text")!.replaceChildren(...parts);
  }
}

/** What is known of a selected change, to be read out. */
export function described(entry: Entry, place: number, all: number): string {
  return `${title(entry)}, ${size(entry.pixels, entry.areaM2)}, ${verdictWord(entry)}, ${count(place)} of ${count(all)}`;
}
