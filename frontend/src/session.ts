/** Looking at one item: what is shown, what is selected, what is judged. */
import { ItemApi, newUid, ServerError, type Candidate, type Item, type Verdict } from "./api.ts";
import { Controls } from "./controls.ts";
import { Detail } from "./detail.ts";
import { Drawing } from "./drawing.ts";
import { announce, byId, toast } from "./dom.ts";
import { combine, passes, sorted, type Entry } from "./entries.ts";
import { Grid, type Box, type Point } from "./grid.ts";
import { described, List } from "./list.ts";
import { MapPair, type Outline, type ViewMode } from "./maps.ts";
import { Outlines } from "./outlines.ts";
import { areaOf, contains, overlap, type Polygon } from "./polygon.ts";
import { Problems } from "./problems.ts";
import { Readout } from "./readout.ts";
import { Review } from "./review.ts";
import type { ScoreLook } from "./scoreLayer.ts";
import { Counter, lowestCode, ScoreTiles } from "./scores.ts";

const SERVER_ORDERS = { area: "area", score: "mean_score", gain: "gain", verdict: "area", random: "random" };
const COUNTING_MS = 500;

export class Session {
  readonly maps: MapPair;
  readonly review: Review;
  readonly drawing: Drawing;
  private readonly api: ItemApi;
  private readonly grid: Grid;
  private readonly tiles: ScoreTiles;
  private readonly outlines: Outlines;
  private readonly list: List;
  private readonly detail: Detail;
  private readonly readout: Readout;
  private readonly problems: Problems;
  private readonly look: ScoreLook;
  private threshold: number;
  private counter: Counter | null = null;
  private candidates: Candidate[] = [];
  private total = 0;
  private scale = 1;
  private entries: Entry[] = [];
  private shown: Entry[] = [];
  private selected: string | null = null;
  private mode: ViewMode = "swipe";
  private blinkFrom: ViewMode | null = null;
  private closed = false;

  constructor(
    private readonly item: Item,
    baseMap: string | null,
    private readonly controls: Controls,
  ) {
    const api = (this.api = new ItemApi(item.id));
    const grid = (this.grid = new Grid(item.width, item.height, item.max_zoom));
    this.problems = new Problems(api, item, () => this.maps.reloadImages());
    const onError = (error: ServerError) => this.problems.tell(error);
    this.tiles = new ScoreTiles(api, () => this.maps.repaint(), onError);
    this.outlines = new Outlines(api, item, grid, this.tiles);
    this.threshold = item.threshold;
    this.look = { ...controls.look, lowestCode: lowestCode(this.threshold, item), steps: item.score_steps };
    this.list = new List(api, grid, (entry) => this.select(entry, { fly: true }));
    this.detail = new Detail(api, grid, {
      accept: () => this.judge("accepted"),
      reject: () => this.judge("rejected"),
      redraw: () => this.redraw(),
      undo: () => this.undo(),
      step: (by) => this.step(by),
      note: (text) => this.setNote(text),
    });
    this.review = new Review(api, item, () => this.verdictsChanged(), toast);
    const source = { api, item, grid, tiles: this.tiles, baseMap };
    this.maps = new MapPair(document.querySelector<HTMLElement>(".maps")!, source, this.look, {
      pointer: (point) => this.pointer(point),
      click: (point) => this.click(point),
      doubleClick: () => this.drawing.finish(),
      moved: () => this.readout.showScale(this.maps.view.scale),
      tileError: onError,
    });
    this.readout = new Readout(api, item, grid, this.tiles);
    this.drawing = new Drawing(grid, this.maps, controls, (polygon, redrawn) => this.drawn(polygon, redrawn));
    controls.showItem(item, api);
    this.setMode(controls.mode);
  }

  async open(): Promise<void> {
    this.readout.showScale(this.maps.view.scale);
    this.showCount();
    void this.countScores();
    await Promise.all([this.listChanges(), this.review.open()]);
  }

  close(): void {
    this.closed = true;
    this.drawing.stop();
    this.review.close();
    this.outlines.close();
    this.problems.close();
    this.list.close();
    this.readout.close();
    this.maps.remove();
  }

  // What is shown

  setMode(mode: ViewMode): void {
    this.mode = mode;
    this.blinkFrom = null;
    this.maps.setMode(mode);
  }

  /** Show one date after the other in the same place. */
  blink(): void {
    const next: ViewMode = this.mode === "after" ? "before" : "after";
    const from = this.blinkFrom ?? this.mode;
    this.setMode(this.mode === "swipe" || this.mode === "side" ? "before" : next);
    this.blinkFrom = from;
    this.controls.showMode(this.mode);
    announce(this.mode === "before" ? "Before" : "After");
  }

  /** Back from blinking to the view before it. */
  endBlink(): boolean {
    if (!this.blinkFrom) return false;
    this.setMode(this.blinkFrom);
    this.controls.showMode(this.mode);
    return true;
  }

  setLook(): void {
    Object.assign(this.look, this.controls.look);
    void this.maps.setOutlinesVisible(this.controls.showOutlines);
    this.maps.repaint();
  }

  setThreshold(threshold: number): void {
    const value = Math.min(Math.max(threshold, 0), 1);
    if (value === this.threshold) return;
    this.threshold = value;
    this.look.lowestCode = lowestCode(value, this.item);
    this.maps.repaint();
    this.showCount();
    void this.listChanges();
  }

  stepThreshold(by: number): void {
    this.setThreshold(Math.round((this.threshold + by) * 1000) / 1000);
  }

  resetThreshold(): void {
    this.setThreshold(this.item.threshold);
  }

  private showCount(): void {
    this.controls.showThreshold(this.threshold, this.counter?.changed(this.look.lowestCode) ?? null);
  }

  private async countScores(): Promise<void> {
    try {
      while (!this.closed) {
        const histogram = await this.api.histogram();
        if (histogram) {
          this.counter = new Counter(histogram);
          this.controls.showHistogram(histogram);
          this.showCount();
          return;
        }
        await new Promise((go) => setTimeout(go, COUNTING_MS));
      }
    } catch (error) {
      this.problems.tell(error);
    }
  }

  /** List the polygons of the threshold; those of the result where it is the result's own. */
  private async listChanges(): Promise<void> {
    try {
      let outlined;
      if (this.threshold === this.item.threshold) {
        this.outlines.cancel();
        outlined = await this.outlines.ofResult(SERVER_ORDERS[this.controls.order]);
        if (this.threshold !== this.item.threshold) return;
      } else {
        outlined = await this.outlines.at(this.threshold, (share) => this.controls.showReading(share));
      }
      if (!outlined || this.closed) return;
      ({ candidates: this.candidates, total: this.total, scale: this.scale } = outlined);
      this.relist();
    } catch (error) {
      this.problems.tell(error);
    }
  }

  orderChanged(): void {
    if (this.total > this.candidates.length && this.threshold === this.item.threshold) void this.listChanges();
    else this.relist();
  }

  /** Bring polygons and verdicts together and list them anew, in the chosen order. */
  relist(): void {
    const before = this.selectedEntry();
    this.entries = combine(this.candidates, this.review.rows.values());
    this.shown = sorted(this.entries, this.controls.order).filter((entry) => passes(entry, this.controls.filter));
    if (before && !this.entries.some((entry) => entry.key === this.selected)) {
      this.selected = this.entries.find((entry) => overlap(entry.geometry, before.geometry) >= 0.5)?.key ?? null;
    }
    this.list.show(this.shown, this.selected);
    this.showAll();
  }

  /** The same list with other verdicts: it keeps its order, so that nothing jumps while one judges. */
  private verdictsChanged(): void {
    const combined = combine(this.candidates, this.review.rows.values());
    const places = new Map(combined.map((entry) => [entry.key, entry]));
    const had = new Set(this.entries.map(({ key }) => key));
    const own = combined.filter(({ key, candidate }) => !candidate && !had.has(key));
    const gone = this.shown.some(({ key }) => !places.has(key));
    this.entries = combined;
    this.shown = [...own, ...this.shown.flatMap(({ key }) => places.get(key) ?? [])];
    if (this.selected && !places.has(this.selected)) this.selected = null;
    if (own.length || gone) this.list.show(this.shown, this.selected);
    else this.list.update(this.shown, this.selected);
    this.showAll();
  }

  private showAll(): void {
    const outlines: Outline[] = this.shown.map(({ row, geometry }) => ({ kind: row?.verdict ?? "open", geometry }));
    for (const { window } of this.review.windows.values()) outlines.push({ kind: "window", geometry: rectangle(window) });
    void this.maps.setOutlines(outlines);
    this.showSelected();
    this.controls.showReview(this.review, { entries: this.entries, total: this.total, shown: this.shown.length, scale: this.scale, item: this.item });
  }

  private showSelected(): void {
    const entry = this.selectedEntry();
    void this.maps.setSelected(entry?.geometry ?? null);
    this.detail.show(entry, { writable: this.item.writable, canUndo: this.review.canUndo });
  }

  // Selecting

  private selectedEntry(): Entry | null {
    return this.entries.find((entry) => entry.key === this.selected) ?? null;
  }

  select(entry: Entry | null, { fly }: { fly: boolean }): void {
    this.selected = entry?.key ?? null;
    this.list.select(this.selected);
    this.showSelected();
    if (!entry) return;
    if (fly) this.maps.flyTo(entry.bbox);
    announce(described(entry, this.shown.indexOf(entry) + 1, this.shown.length));
  }

  step(by: 1 | -1): void {
    if (!this.shown.length) return;
    const at = this.shown.findIndex((entry) => entry.key === this.selected);
    const next = at < 0 ? (by > 0 ? 0 : this.shown.length - 1) : (at + by + this.shown.length) % this.shown.length;
    this.select(this.shown[next]!, { fly: true });
  }

  flyToSelected(): void {
    const entry = this.selectedEntry();
    if (entry) this.maps.flyTo(entry.bbox);
  }

  focusNote(): void {
    this.detail.focusNote();
  }

  focusList(): void {
    this.list.focusSelected();
  }

  // Judging

  judge(verdict: "accepted" | "rejected"): void {
    const entry = this.selectedEntry();
    if (!entry) return toast("Choose a change first (J: the next one).");
    if (!this.mayWrite()) return;
    if (entry.row?.verdict === "drawn") return toast("A drawn change is accepted already; U takes it back.");
    this.save(entry, verdict, entry.candidate?.geometry ?? entry.geometry);
    announce(`${verdict}. ${byId("reviewed").textContent}`);
    this.nextOpen(entry);
  }

  private nextOpen(entry: Entry): void {
    const at = this.shown.findIndex(({ key }) => key === entry.key);
    const order = [...this.shown.slice(at + 1), ...this.shown.slice(0, Math.max(at, 0))];
    const next = order.find(({ row }) => !row);
    if (next) this.select(next, { fly: true });
    else toast("Everything in this list is judged.");
  }

  private save(entry: Entry | null, verdict: Verdict, geometry: Polygon): void {
    const uid = entry?.row?.uid ?? entry?.candidate?.uid ?? newUid();
    this.review.put(uid, {
      verdict,
      geometry,
      note: entry?.row?.note ?? "",
      who: this.controls.who,
      window: this.window(),
      mean_score: entry?.candidate?.mean_score ?? entry?.row?.mean_score ?? null,
      max_score: entry?.candidate?.max_score ?? entry?.row?.max_score ?? null,
      threshold: this.threshold,
    });
    if (!entry) this.selected = uid;
  }

  /** What of the image is visible, in whole pixels; null: nothing. */
  private window(): Box | null {
    const [x0, y0, x1, y1] = this.grid.clip(this.maps.view.box);
    return x1 > x0 && y1 > y0 ? [Math.floor(x0), Math.floor(y0), Math.ceil(x1), Math.ceil(y1)] : null;
  }

  undo(): void {
    if (this.drawing.active) return this.drawing.removeCorner();
    const uid = this.review.undo();
    if (uid === null) return toast("Nothing to undo.");
    const entry = this.entries.find(({ candidate, row }) => candidate?.uid === uid || row?.uid === uid);
    if (entry) this.select(entry, { fly: true });
    announce(`Undone. ${byId("reviewed").textContent}`);
  }

  private setNote(text: string): void {
    const row = this.selectedEntry()?.row;
    if (row) this.review.setNote(row.uid, text);
  }

  /** State that all that is visible was looked at. */
  async markWindow(): Promise<void> {
    if (!this.mayWrite()) return;
    const window = this.window();
    if (!window) return toast("Nothing of the image is visible.");
    try {
      await this.review.markWindow(window, this.controls.who);
      toast("The visible part counts as looked at: what is not marked there is no change.");
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      toast(`Not saved: ${error.message}`);
    }
  }

  private mayWrite(): boolean {
    if (!this.item.writable) toast(this.item.read_only_reason ?? "Verdicts on this result cannot be saved.");
    return this.item.writable;
  }

  // Drawing

  draw(): void {
    if (this.drawing.active) this.drawing.stop();
    else if (this.mayWrite()) this.drawing.start(null);
  }

  redraw(): void {
    const entry = this.selectedEntry();
    if (!entry) return toast("Choose a change first (J: the next one).");
    if (this.mayWrite()) this.drawing.start(entry);
  }

  private drawn(polygon: Polygon, redrawn: Entry | null): void {
    if (redrawn?.candidate?.uid) this.save(redrawn, "edited", polygon);
    else if (redrawn) this.save(redrawn, redrawn.row?.verdict === "drawn" ? "drawn" : "accepted", polygon);
    else this.save(null, "drawn", polygon);
    this.select(this.selectedEntry(), { fly: false });
    announce("The outline is saved.");
  }

  private pointer(point: Point | null): void {
    this.readout.showPlace(point);
    this.drawing.follow(point);
  }

  private click(point: Point): void {
    this.readout.showPlace(point);
    if (this.drawing.active) return this.drawing.addCorner(point);
    const hits = this.shown.filter((entry) => contains(entry.geometry, point));
    const smallest = hits.reduce<Entry | null>((best, entry) => (best && areaOf(best.geometry) <= areaOf(entry.geometry) ? best : entry), null);
    if (smallest) this.select(smallest, { fly: false });
  }
}

function rectangle([x0, y0, x1, y1]: Box): Polygon {
  return { type: "Polygon", coordinates: [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]] };
}
