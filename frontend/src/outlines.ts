/** Outlines at any threshold: those of the result at its own, else traced from the scores here. */
import { type Candidate, type Item, type ItemApi } from "./api.ts";
import type { Grid } from "./grid.ts";
import { lowestCode, type ScoreTiles } from "./scores.ts";
import type { FromWorker, ToWorker } from "./traceWorker.ts";

export interface Outlined {
  candidates: Candidate[];
  total: number;
  /** Pixels of the result along one pixel from which outlines were traced; 1: exact. */
  scale: number;
}

const MOST = 5000;

export class Outlines {
  private readonly worker = new Worker(new URL("./traceWorker.ts", import.meta.url), { type: "module" });
  private loading: Promise<number> | null = null;
  private number = 0;
  private busy = false;
  private next: (() => void) | null = null;
  private readonly answers = new Map<number, (answer: FromWorker) => void>();

  constructor(
    private readonly api: ItemApi,
    private readonly item: Item,
    private readonly grid: Grid,
    private readonly tiles: ScoreTiles,
  ) {
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      this.answers.get(data.number)?.(data);
      this.answers.delete(data.number);
    };
  }

  close(): void {
    this.worker.terminate();
  }

  async ofResult(order: string): Promise<Outlined> {
    const { candidates, total } = await this.api.candidates(order);
    return { candidates, total, scale: 1 };
  }

  /** Read all scores, once; what they are needed for can be called again after an error. */
  load(progress: (share: number) => void): Promise<number> {
    this.loading ??= this.tiles
      .wholeMap(this.item, this.grid, progress)
      .then((map) => {
        this.worker.postMessage({ kind: "map", map } satisfies ToWorker, [map.codes.buffer]);
        return map.scale;
      })
      .catch((error: unknown) => {
        this.loading = null;
        throw error;
      });
    return this.loading;
  }

  /** Outline what reaches a threshold; null where a later call has made this one pointless. */
  async at(threshold: number, progress: (share: number) => void): Promise<Outlined | null> {
    const number = ++this.number;
    const scale = await this.load(progress);
    if (this.busy) await new Promise<void>((go) => { this.next?.(); this.next = go; });
    if (number !== this.number) return null;
    this.busy = true;
    const answer = await new Promise<FromWorker>((resolve) => {
      this.answers.set(number, resolve);
      const minPixels = this.item.min_area_px;
      const code = lowestCode(threshold, this.item);
      this.worker.postMessage({ kind: "trace", number, lowestCode: code, minPixels, limit: MOST } satisfies ToWorker);
    });
    this.busy = false;
    this.next?.();
    this.next = null;
    if (number !== this.number) return null;
    return { candidates: this.candidates(answer, threshold), total: answer.total, scale };
  }

  /** Outlines of another threshold are asked for no longer. */
  cancel(): void {
    this.number++;
  }

  private candidates({ objects }: FromWorker, threshold: number): Candidate[] {
    const { score_steps: steps, pixel_area_m2: pixelArea } = this.item;
    return objects.map(({ geometry, pixels, meanCode, maxCode, bbox }) => {
      const mean = meanCode / steps;
      const above = (mean - threshold) / Math.max(1 - threshold, 1e-9);
      return {
        id: null,
        uid: null,
        geometry,
        pixels,
        area_m2: pixelArea && pixels * pixelArea,
        mean_score: mean,
        max_score: maxCode / steps,
        bbox,
        // As in the package: 1 where the mean score is just at the threshold.
        gain: 1 - Math.min(Math.max(above, 0), 1),
      };
    });
  }
}
