/** Plane geometry of polygons in pixels. */
import type { Box, Point } from "./grid.ts";

export interface Polygon {
  type: "Polygon";
  coordinates: Point[][];
}

/** Twice the signed area of a ring; positive where it runs clockwise on the screen. */
export function doubleArea(ring: Point[]): number {
  let sum = 0;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    sum += ring[j]![0] * ring[i]![1] - ring[i]![0] * ring[j]![1];
  }
  return sum;
}

export function areaOf(polygon: Polygon): number {
  const [outer, ...holes] = polygon.coordinates.map((ring) => Math.abs(doubleArea(ring)) / 2);
  return (outer ?? 0) - holes.reduce((sum, area) => sum + area, 0);
}

export function boxOf(polygon: Polygon): Box {
  const box: Box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of polygon.coordinates[0] ?? []) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

export function boxesMeet(a: Box, b: Box): boolean {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

export function contains(polygon: Polygon, [x, y]: Point): boolean {
  let inside = false;
  for (const ring of polygon.coordinates) {
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [xi, yi] = ring[i]!;
      const [xj, yj] = ring[j]!;
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
    }
  }
  return inside;
}

const SAMPLES = 16;

/** Share of their union that two polygons have in common, estimated on a grid of 16 x 16 points. */
export function overlap(a: Polygon, b: Polygon): number {
  const boxA = boxOf(a);
  const boxB = boxOf(b);
  if (!boxesMeet(boxA, boxB)) return 0;
  const x0 = Math.min(boxA[0], boxB[0]);
  const y0 = Math.min(boxA[1], boxB[1]);
  const stepX = (Math.max(boxA[2], boxB[2]) - x0) / SAMPLES;
  const stepY = (Math.max(boxA[3], boxB[3]) - y0) / SAMPLES;
  let both = 0;
  let either = 0;
  for (let row = 0; row < SAMPLES; row++) {
    for (let column = 0; column < SAMPLES; column++) {
      const point: Point = [x0 + (column + 0.5) * stepX, y0 + (row + 0.5) * stepY];
      const inA = contains(a, point);
      const inB = contains(b, point);
      if (inA && inB) both++;
      if (inA || inB) either++;
    }
  }
  return either ? both / either : 0;
}

/** Whether a ring, given without its closing point, crosses or touches itself. */
export function crossesItself(ring: Point[]): boolean {
  const count = ring.length;
  for (let i = 0; i < count; i++) {
    for (let j = i + 1; j < count; j++) {
      if (j === i + 1 || (i === 0 && j === count - 1)) continue;
      if (segmentsMeet(ring[i]!, ring[(i + 1) % count]!, ring[j]!, ring[(j + 1) % count]!)) return true;
    }
  }
  return false;
}

function segmentsMeet(a: Point, b: Point, c: Point, d: Point): boolean {
  const side = (p: Point, q: Point, r: Point) => (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]);
  const between = (p: Point, q: Point, r: Point) =>
    Math.min(p[0], q[0]) <= r[0] && r[0] <= Math.max(p[0], q[0]) &&
    Math.min(p[1], q[1]) <= r[1] && r[1] <= Math.max(p[1], q[1]);
  const [s1, s2, s3, s4] = [side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)];
  if (s1 * s2 < 0 && s3 * s4 < 0) return true;
  return (
    (s1 === 0 && between(a, b, c)) || (s2 === 0 && between(a, b, d)) ||
    (s3 === 0 && between(c, d, a)) || (s4 === 0 && between(c, d, b))
  );
}
