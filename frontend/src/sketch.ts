/** A polygon that is being drawn, corner by corner, with the pointer or with keys alone. */
import type { Grid, Point } from "./grid.ts";
import { areaOf, crossesItself, type Polygon } from "./polygon.ts";

/** Two clicks nearer than this (CSS pixels) are one corner, as at a double click. */
const SAME_PLACE_PX = 3;

export class Sketch {
  readonly points: Point[] = [];
  pointer: Point | null = null;

  constructor(private readonly grid: Grid) {}

  /** Add a corner; outside the image it moves to the nearest edge. */
  add(point: Point, scale: number): void {
    const [x, y] = this.grid.clip([point[0], point[1], point[0], point[1]]);
    const last = this.points.at(-1);
    if (last && Math.hypot(last[0] - x, last[1] - y) * scale < SAME_PLACE_PX) return;
    this.points.push([x, y]);
  }

  /** The finished polygon, or what has to be mended first. */
  finish(): Polygon | string {
    if (this.points.length < 3) return "An outline needs at least three corners.";
    if (crossesItself(this.points)) return "The outline crosses itself. Backspace takes back its last corner.";
    const polygon: Polygon = { type: "Polygon", coordinates: [[...this.points, this.points[0]!]] };
    return areaOf(polygon) > 0 ? polygon : "The outline has no area.";
  }
}
