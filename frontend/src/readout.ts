/** The scale bar, and coordinates and values under the pointer. */
import { ServerError, type Item, type ItemApi, type Values } from "./api.ts";
import { byId } from "./dom.ts";
import { count, degrees, length, roundLength } from "./format.ts";
import { TILE_PX, type Grid, type Point } from "./grid.ts";
import { codeAt, type ScoreTiles } from "./scores.ts";

const LONGEST_BAR_PX = 140;
const ASK_AFTER_MS = 120;

export class Readout {
  private readonly root = byId("readout");
  private timer = 0;
  private abort: AbortController | null = null;
  private at = "";

  constructor(
    private readonly api: ItemApi,
    private readonly item: Item,
    private readonly grid: Grid,
    private readonly tiles: ScoreTiles,
  ) {
    this.root.textContent = "";
  }

  close(): void {
    clearTimeout(this.timer);
    this.abort?.abort();
  }

  /** @param scale CSS pixels per pixel of the result. */
  showScale(scale: number): void {
    const metres = this.item.pixel_size_m;
    const unit = metres ?? 1;
    const bar = roundLength((LONGEST_BAR_PX / scale) * unit);
    const root = byId("scale");
    root.querySelector<HTMLElement>("i")!.style.width = `${(bar / unit) * scale}px`;
    root.querySelector("span")!.textContent = metres ? length(bar) : `${bar >= 1 ? count(bar) : bar} px`;
  }

  showPlace(point: Point | null): void {
    if (!point || !this.grid.inside(point)) {
      this.close();
      this.at = "";
      this.root.textContent = "";
      return;
    }
    const [column, row] = [Math.floor(point[0]), Math.floor(point[1])];
    const at = `${column} ${row}`;
    if (at === this.at) return;
    this.at = at;
    this.show({ column, row, score: this.loadedScore(column, row) });
    this.close();
    this.timer = window.setTimeout(() => void this.ask(point, at), ASK_AFTER_MS);
  }

  /** The score of a pixel whose tile is there at full size. */
  private loadedScore(column: number, row: number): number | null {
    const tile = this.tiles.get(this.grid.maxZoom, Math.floor(column / TILE_PX), Math.floor(row / TILE_PX));
    if (!tile || tile === "empty") return null;
    const code = codeAt(tile, column % TILE_PX, row % TILE_PX);
    return code < 0 ? null : code / this.item.score_steps;
  }

  private async ask([x, y]: Point, at: string): Promise<void> {
    this.abort = new AbortController();
    try {
      const values = await this.api.values(x, y, this.abort.signal);
      if (at === this.at) this.show(values);
    } catch (error) {
      if (!(error instanceof ServerError) && !this.abort?.signal.aborted) throw error;
    }
  }

  private show(values: Partial<Values> & { column: number; row: number }): void {
    const parts = [`column ${values.column}, row ${values.row}`];
    if (values.lonlat) parts.push(degrees(values.lonlat));
    if (values.xy && this.item.crs) parts.push(`x ${coordinate(values.xy[0])}, y ${coordinate(values.xy[1])}`);
    if (values.score != null) parts.push(`score ${values.score.toFixed(3)}`);
    if (values.before) parts.push(`before ${values.before.map(pixelValue).join(", ")}`);
    if (values.after) parts.push(`after ${values.after.map(pixelValue).join(", ")}`);
    this.root.replaceChildren(
      ...parts.map((part) => {
        const span = document.createElement("span");
        span.textContent = part;
        return span;
      }),
    );
  }
}

function coordinate(value: number): string {
  return Math.abs(value) < 1000 ? value.toFixed(5) : value.toFixed(1);
}

function pixelValue(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(4);
}
