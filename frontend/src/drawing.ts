/** Drawing on the map: a change that was missed, or a better outline of one that is listed. */
import type { Controls } from "./controls.ts";
import { byId, toast } from "./dom.ts";
import type { Entry } from "./entries.ts";
import { Grid, type Point } from "./grid.ts";
import type { MapPair } from "./maps.ts";
import type { Polygon } from "./polygon.ts";
import { Sketch } from "./sketch.ts";

export class Drawing {
  private sketch: Sketch | null = null;
  /** The change whose outline is drawn anew; null: a change that was missed. */
  private redrawn: Entry | null = null;

  constructor(
    private readonly grid: Grid,
    private readonly maps: MapPair,
    private readonly controls: Controls,
    private readonly done: (polygon: Polygon, redrawn: Entry | null) => void,
  ) {}

  get active(): boolean {
    return this.sketch !== null;
  }

  start(redrawn: Entry | null): void {
    this.redrawn = redrawn;
    this.sketch = new Sketch(this.grid);
    this.maps.setDrawing(true);
    this.maps.focus();
    this.controls.showDrawing(redrawn ? "Click around the change to outline it anew" : "Click around a change that was missed");
  }

  stop(): void {
    this.sketch = null;
    this.redrawn = null;
    this.maps.setDrawing(false);
    void this.maps.setSketch([], null);
    this.controls.showDrawing(null);
  }

  addCorner(point: Point): void {
    this.sketch?.add(point, this.maps.view.scale);
    this.show();
  }

  /** With keys alone: a corner in the middle of the map, which the arrow keys move. */
  addCornerInTheMiddle(): void {
    byId("crosshair").hidden = false;
    this.addCorner(this.maps.view.centre);
  }

  removeCorner(): void {
    this.sketch?.points.pop();
    this.show();
  }

  follow(point: Point | null): void {
    if (!this.sketch) return;
    this.sketch.pointer = point;
    if (point) byId("crosshair").hidden = true;
    this.show();
  }

  finish(): void {
    const polygon = this.sketch?.finish();
    if (polygon === undefined) return;
    if (typeof polygon === "string") return toast(polygon);
    const { redrawn } = this;
    this.stop();
    this.done(polygon, redrawn);
  }

  private show(): void {
    if (this.sketch) void this.maps.setSketch(this.sketch.points, this.sketch.pointer);
  }
}
