/** The optional base map: its Mercator tiles are warped onto the pixels of the result, tile by tile. */
import type { LonLatMesh } from "./api.ts";
import { MARGIN_LEVELS, TILE_PX, type Grid, type Point } from "./grid.ts";

/** Triangles along one side of a tile: few, since within a tile a map is nearly flat. */
const CELLS = 4;
const MOST_ZOOM = 19;

/** Mercator coordinates, 0 to 1, of a pixel: between (and beyond) the points that the server gave. */
function mercatorAt({ columns, rows, points }: LonLatMesh, [x, y]: Point): Point {
  const [i, u] = place(columns, x);
  const [j, v] = place(rows, y);
  const mix = (axis: 0 | 1) => {
    const top = points[j]![i]![axis] * (1 - u) + points[j]![i + 1]![axis] * u;
    const bottom = points[j + 1]![i]![axis] * (1 - u) + points[j + 1]![i + 1]![axis] * u;
    return top * (1 - v) + bottom * v;
  };
  const latitude = Math.min(Math.max(mix(1), -85.05), 85.05);
  const south = Math.log(Math.tan(Math.PI / 4 + (latitude * Math.PI) / 360)) / (2 * Math.PI);
  return [(mix(0) + 180) / 360, 0.5 - south];
}

function place(steps: number[], value: number): [number, number] {
  let index = 0;
  while (index < steps.length - 2 && value > steps[index + 1]!) index++;
  return [index, (value - steps[index]!) / (steps[index + 1]! - steps[index]!)];
}

export class BaseMap {
  private readonly tiles = new Map<string, Promise<ImageBitmap>>();

  constructor(
    private readonly address: string,
    private readonly mesh: LonLatMesh,
    private readonly grid: Grid,
  ) {}

  /** A tile of our map, (z, x, y) as MapLibre counts, drawn from the tiles of the base map. */
  async tile(z: number, x: number, y: number): Promise<ImageBitmap> {
    const span = (TILE_PX * 2 ** this.grid.maxZoom * 2 ** MARGIN_LEVELS) / 2 ** z;
    const origin = TILE_PX * 2 ** this.grid.maxZoom;
    const corner = (column: number, row: number): Point =>
      mercatorAt(this.mesh, [x * span - origin + (column / CELLS) * span, y * span - origin + (row / CELLS) * span]);
    const [left, top] = corner(0, 0);
    const [right, bottom] = corner(CELLS, CELLS);
    const extent = Math.max(Math.abs(right - left), Math.abs(bottom - top), 1e-9);
    const zoom = Math.min(Math.max(Math.round(-Math.log2(extent)), 0), MOST_ZOOM);
    const canvas = new OffscreenCanvas(TILE_PX, TILE_PX);
    const context = canvas.getContext("2d")!;
    const size = TILE_PX / CELLS;
    for (let row = 0; row < CELLS; row++) {
      for (let column = 0; column < CELLS; column++) {
        const corners = [corner(column, row), corner(column + 1, row), corner(column, row + 1)] as const;
        await this.drawCell(context, zoom, { corners, last: corner(column + 1, row + 1), left: column * size, top: row * size, size });
      }
    }
    return canvas.transferToImageBitmap();
  }

  /** Draw what a cell covers of the base map, taken as a parallelogram. */
  private async drawCell(
    context: OffscreenCanvasRenderingContext2D,
    zoom: number,
    cell: { corners: readonly [Point, Point, Point]; last: Point; left: number; top: number; size: number },
  ): Promise<void> {
    const [a, b, c] = cell.corners;
    const across = [b[0] - a[0], b[1] - a[1]] as const;
    const down = [c[0] - a[0], c[1] - a[1]] as const;
    const determinant = across[0] * down[1] - across[1] * down[0];
    if (!determinant) return;
    const count = 2 ** zoom;
    const all = [a, b, c, cell.last];
    const range = (axis: 0 | 1) =>
      [Math.floor(Math.min(...all.map((p) => p[axis])) * count), Math.floor(Math.max(...all.map((p) => p[axis])) * count)] as const;
    const [x0, x1] = range(0);
    const [y0, y1] = range(1);
    for (let ty = Math.max(y0, 0); ty <= Math.min(y1, count - 1); ty++) {
      for (let tx = x0; tx <= x1; tx++) {
        const image = await this.source(zoom, ((tx % count) + count) % count, ty);
        // From the pixels of this tile to the canvas.
        const step = 1 / count / image.width;
        const toCell = (dx: number, dy: number) =>
          [(dx * down[1] - dy * down[0]) / determinant, (dy * across[0] - dx * across[1]) / determinant] as const;
        const [ax, ay] = toCell(step, 0);
        const [bx, by] = toCell(0, step);
        const [ox, oy] = toCell(tx / count - a[0], ty / count - a[1]);
        context.save();
        context.beginPath();
        context.rect(cell.left, cell.top, cell.size, cell.size);
        context.clip();
        const { size } = cell;
        context.setTransform(ax * size, ay * size, bx * size, by * size, cell.left + ox * size, cell.top + oy * size);
        context.drawImage(image, 0, 0);
        context.restore();
      }
    }
  }

  private source(z: number, x: number, y: number): Promise<ImageBitmap> {
    const address = this.address.replace("{z}", `${z}`).replace("{x}", `${x}`).replace("{y}", `${y}`);
    let promise = this.tiles.get(address);
    if (!promise) {
      promise = fetch(address, { referrerPolicy: "no-referrer", credentials: "omit" }).then(async (response) => {
        if (!response.ok) throw new Error(`the base map answered ${response.status}`);
        return createImageBitmap(await response.blob());
      });
      if (this.tiles.size > 200) this.tiles.delete(this.tiles.keys().next().value!);
      this.tiles.set(address, promise);
      promise.catch(() => this.tiles.delete(address));
    }
    return promise;
  }
}
