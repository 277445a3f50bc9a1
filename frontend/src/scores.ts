/** Score tiles as the server sends them, and the score map of a whole image put together from them. */
import { request, ServerError, type Histogram, type Item, type ItemApi } from "./api.ts";
import { Grid, TILE_PX } from "./grid.ts";
import { NO_DATA, type ScoreMap } from "./trace.ts";

export type ScoreTile = ImageData | "empty";

const KEPT_TILES = 400;
const PARALLEL = 6;
/** Whole images are outlined here up to this many pixels along a side, larger ones on an overview. */
const TRACED_SIDE = 4096;

/** The lowest code that counts as changed: the rule of the result's mask. */
export function lowestCode(threshold: number, { score_steps: steps }: Item): number {
  return Math.ceil(Math.fround(threshold) * steps);
}

/** Loads and keeps score tiles; `changed` is called whenever a tile has come. */
export class ScoreTiles {
  private readonly tiles = new Map<string, ScoreTile>();
  private readonly running = new Map<string, Promise<ScoreTile | null>>();
  private readonly waiting: (() => void)[] = [];
  private active = 0;
  private readonly failed = new Map<string, number>();

  constructor(
    private readonly api: ItemApi,
    private readonly changed: () => void,
    private readonly onError: (error: ServerError) => void,
  ) {}

  get(z: number, x: number, y: number): ScoreTile | undefined {
    return this.tiles.get(`${z}/${x}/${y}`);
  }

  /** Begin to load a tile unless it is there; null where it cannot be had at present. */
  load(z: number, x: number, y: number): Promise<ScoreTile | null> {
    const key = `${z}/${x}/${y}`;
    const there = this.tiles.get(key);
    if (there) return Promise.resolve(there);
    if ((this.failed.get(key) ?? 0) > Date.now()) return Promise.resolve(null);
    let promise = this.running.get(key);
    if (!promise) {
      promise = this.fetch(key, this.api.tile("score", z, x, y)).finally(() => this.running.delete(key));
      this.running.set(key, promise);
    }
    return promise;
  }

  private async fetch(key: string, path: string): Promise<ScoreTile | null> {
    while (this.active >= PARALLEL) await new Promise<void>((go) => this.waiting.push(go));
    this.active++;
    try {
      const response = await request(path);
      const tile = response.status === 204 ? "empty" : await decode(await response.blob());
      if (this.tiles.size >= KEPT_TILES) this.tiles.delete(this.tiles.keys().next().value!);
      this.tiles.set(key, tile);
      this.changed();
      return tile;
    } catch (error) {
      this.failed.set(key, Date.now() + 5000);
      this.onError(error instanceof ServerError ? error : new ServerError(500, "A score tile cannot be read."));
      return null;
    } finally {
      this.active--;
      this.waiting.shift()?.();
    }
  }

  /** Scores of the whole image, or of its overview if it is large; throws what the server refused. */
  async wholeMap(item: Item, grid: Grid, progress: (share: number) => void): Promise<ScoreMap> {
    let zoom = item.max_zoom;
    while (Math.max(item.width, item.height) / 2 ** (item.max_zoom - zoom) > TRACED_SIDE) zoom--;
    const scale = 2 ** (item.max_zoom - zoom);
    const width = Math.ceil(item.width / scale);
    const height = Math.ceil(item.height / scale);
    const codes = new Int32Array(width * height).fill(NO_DATA);
    const range = grid.tilesOf([0, 0, item.width, item.height], zoom);
    const places: [number, number][] = [];
    for (let y = range.y0; y <= range.y1; y++) for (let x = range.x0; x <= range.x1; x++) places.push([x, y]);
    let done = 0;
    await Promise.all(
      places.map(async ([x, y]) => {
        const tile = await this.load(zoom, x, y);
        if (!tile) throw new ServerError(0, "The scores cannot be read at present.");
        if (tile !== "empty") copyCodes(tile, codes, { width, height, left: x * TILE_PX, top: y * TILE_PX });
        progress(++done / places.length);
      }),
    );
    return { width, height, codes, scale };
  }
}

/** The pixels of a PNG just as they were stored. */
async function decode(png: Blob): Promise<ImageData> {
  const bitmap = await createImageBitmap(png, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** Code of a pixel of a tile; NO_DATA where there is none. */
export function codeAt(tile: ImageData, column: number, row: number): number {
  const at = (row * tile.width + column) * 4;
  return tile.data[at + 3]! ? tile.data[at]! * 256 + tile.data[at + 1]! : NO_DATA;
}

function copyCodes(
  tile: ImageData,
  codes: Int32Array,
  place: { width: number; height: number; left: number; top: number },
): void {
  const columns = Math.min(tile.width, place.width - place.left);
  const rows = Math.min(tile.height, place.height - place.top);
  for (let row = 0; row < rows; row++) {
    const start = (place.top + row) * place.width + place.left;
    for (let column = 0; column < columns; column++) codes[start + column] = codeAt(tile, column, row);
  }
}

/** What is changed at each threshold, exactly, from the counts of all scores. */
export class Counter {
  private readonly pixels: Float64Array;
  private readonly area: Float64Array | null;
  readonly valid: number;

  constructor(histogram: Histogram) {
    this.pixels = sumsFromTheTop(histogram.counts);
    this.area = histogram.area_m2 && sumsFromTheTop(histogram.area_m2);
    this.valid = histogram.valid;
  }

  changed(lowest: number): { pixels: number; areaM2: number | null; share: number | null } {
    const at = Math.min(Math.max(lowest, 0), this.pixels.length - 1);
    const pixels = this.pixels[at]!;
    return { pixels, areaM2: this.area && this.area[at]!, share: this.valid ? pixels / this.valid : null };
  }
}

function sumsFromTheTop(counts: number[]): Float64Array {
  const sums = new Float64Array(counts.length + 1);
  for (let i = counts.length - 1; i >= 0; i--) sums[i] = sums[i + 1]! + counts[i]!;
  return sums;
}
