/**
 * Objects of changed pixels at a threshold: their outlines, sizes and scores. As in the package,
 * pixels are connected by their edges and outlines run along pixel edges.
 */
import type { Box, Point } from "./grid.ts";
import { doubleArea, type Polygon } from "./polygon.ts";

/** Scores of a whole image or of its overview; `NO_DATA` where there is none. */
export interface ScoreMap {
  width: number;
  height: number;
  codes: Int32Array;
  /** Pixels of the result along one pixel of this map. */
  scale: number;
}

export interface TracedObject {
  geometry: Polygon;
  /** In pixels of the result. */
  pixels: number;
  meanCode: number;
  maxCode: number;
  bbox: Box;
}

export const NO_DATA = -1;

interface Count {
  pixels: number;
  sum: number;
  max: number;
}

/**
 * Outline what reaches `lowestCode`; the largest first.
 *
 * @param minPixels Smaller objects are left out and smaller holes are filled (pixels of the result).
 * @param limit At most so many are outlined.
 */
export function traceObjects(
  map: ScoreMap,
  lowestCode: number,
  { minPixels, limit }: { minPixels: number; limit: number },
): { objects: TracedObject[]; total: number } {
  const { labels, counts } = label(map, lowestCode);
  const perPixel = map.scale ** 2;
  const kept = counts
    .map((_, index) => index)
    .filter((index) => index > 0 && counts[index]!.pixels * perPixel >= minPixels)
    .sort((a, b) => counts[b]!.pixels - counts[a]!.pixels);
  const wanted = new Uint8Array(counts.length);
  for (const index of kept.slice(0, limit)) wanted[index] = 1;
  const rings = outline(map, labels, wanted);
  const objects = kept.slice(0, limit).map((index) => {
    const count = counts[index]!;
    const all = rings.get(index)!;
    const outer = all.reduce((best, ring) => (doubleArea(ring) > doubleArea(best) ? ring : best));
    const holes = all.filter((ring) => ring !== outer && (-doubleArea(ring) / 2) * perPixel > minPixels);
    const scaled = [outer, ...holes].map((ring) => close(ring, map.scale));
    return {
      geometry: { type: "Polygon" as const, coordinates: scaled },
      pixels: count.pixels * perPixel,
      meanCode: count.sum / count.pixels,
      maxCode: count.max,
      bbox: ringBox(scaled[0]!),
    };
  });
  return { objects, total: kept.length };
}

function close(ring: Point[], scale: number): Point[] {
  const points = ring.map(([x, y]): Point => [x * scale, y * scale]);
  return [...points, points[0]!];
}

function ringBox(ring: Point[]): Box {
  const box: Box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of ring) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

/** Number the objects from 1 (union-find over rows), with what is counted of each. */
function label({ width, height, codes }: ScoreMap, lowest: number): { labels: Int32Array; counts: Count[] } {
  const labels = new Int32Array(width * height);
  const parent: number[] = [0];
  const find = (start: number) => {
    let root = start;
    while (parent[root] !== root) root = parent[root]!;
    for (let at = start; parent[at] !== root; ) {
      const next = parent[at]!;
      parent[at] = root;
      at = next;
    }
    return root;
  };
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (codes[at]! < lowest || codes[at] === NO_DATA) continue;
      const left = x ? labels[at - 1]! : 0;
      const above = y ? labels[at - width]! : 0;
      if (left && above) {
        const [a, b] = [find(left), find(above)];
        labels[at] = Math.min(a, b);
        parent[Math.max(a, b)] = Math.min(a, b);
      } else if (left || above) {
        labels[at] = left || above;
      } else {
        labels[at] = parent.length;
        parent.push(parent.length);
      }
    }
  }
  const numbers = new Int32Array(parent.length);
  const counts: Count[] = [{ pixels: 0, sum: 0, max: 0 }];
  for (let at = 0; at < labels.length; at++) {
    if (!labels[at]) continue;
    const root = find(labels[at]!);
    if (!numbers[root]) {
      numbers[root] = counts.length;
      counts.push({ pixels: 0, sum: 0, max: 0 });
    }
    const number = (labels[at] = numbers[root]!);
    const count = counts[number]!;
    count.pixels++;
    count.sum += codes[at]!;
    if (codes[at]! > count.max) count.max = codes[at]!;
  }
  return { labels, counts };
}

const STEP_X = [1, 0, -1, 0];
const STEP_Y = [0, 1, 0, -1];

/** Rings of the wanted objects, with the object on the right hand: outer ones turn clockwise. */
function outline({ width, height }: ScoreMap, labels: Int32Array, wanted: Uint8Array): Map<number, Point[][]> {
  const rings = new Map<number, Point[][]>();
  const seen = new Uint8Array(labels.length);
  const at = (x: number, y: number) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : labels[y * width + x]!);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const number = labels[y * width + x]!;
      // Every ring runs along the upper edge of some pixel of its object.
      if (!number || !wanted[number] || seen[y * width + x] || at(x, y - 1) === number) continue;
      const ring: Point[] = [];
      let [px, py, direction] = [x, y, 0];
      do {
        if (direction === 0) seen[py * width + px] = 1;
        px += STEP_X[direction]!;
        py += STEP_Y[direction]!;
        // Of the four pixels around this corner, the two ahead of us.
        const right = at(px - (direction === 1 || direction === 2 ? 1 : 0), py - (direction >= 2 ? 1 : 0));
        const left = at(px - (direction === 2 || direction === 3 ? 1 : 0), py - (direction === 0 || direction === 3 ? 1 : 0));
        const turn = right !== number ? 1 : left === number ? 3 : 0;
        if (turn) ring.push([px, py]);
        direction = (direction + turn) % 4;
      } while (px !== x || py !== y || direction !== 0);
      const found = rings.get(number) ?? [];
      found.push(...splitWhereTouching(ring));
      rings.set(number, found);
    }
  }
  return rings;
}

/** Cut a ring that passes through a corner twice: a valid polygon has two rings there. */
function splitWhereTouching(ring: Point[]): Point[][] {
  const parts: Point[][] = [];
  const path: Point[] = [];
  const places = new Map<string, number>();
  for (const point of ring) {
    const key = `${point[0]},${point[1]}`;
    const earlier = places.get(key);
    if (earlier !== undefined) {
      const loop = path.splice(earlier);
      for (const [x, y] of loop) places.delete(`${x},${y}`);
      parts.push(loop);
    }
    places.set(key, path.length);
    path.push(point);
  }
  parts.push(path);
  return parts;
}
