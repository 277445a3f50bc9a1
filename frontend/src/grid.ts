/**
 * The map of MapLibre is a Mercator square; ours shows the pixels of a result. An image lies in a
 * fixed cell of that square, so that pixel tiles are map tiles and no coordinate is ever warped.
 */

export type Point = [number, number];
/** Left, top, right, bottom in pixels of the result. */
export type Box = [number, number, number, number];

export const TILE_PX = 256;
/** The image's top tile is tile (1, 1) of four by four: room for a base map around it. */
export const MARGIN_LEVELS = 2;
const CELL = 1;

export class Grid {
  readonly width: number;
  readonly height: number;
  /** Zoom of the tiles in which one pixel is one pixel of the result. */
  readonly maxZoom: number;
  private readonly side: number;

  constructor(width: number, height: number, maxZoom: number) {
    this.width = width;
    this.height = height;
    this.maxZoom = maxZoom;
    this.side = TILE_PX * 2 ** maxZoom;
  }

  /** Zoom of the map (whose tiles are 512 px wide) at which one pixel is one CSS pixel. */
  get nativeMapZoom(): number {
    return this.maxZoom + MARGIN_LEVELS - 1;
  }

  toLngLat([x, y]: Point): Point {
    const square = 2 ** MARGIN_LEVELS;
    const east = (CELL + x / this.side) / square;
    const south = (CELL + y / this.side) / square;
    const latitude = (360 / Math.PI) * Math.atan(Math.exp((0.5 - south) * 2 * Math.PI)) - 90;
    return [east * 360 - 180, latitude];
  }

  toPixel(longitude: number, latitude: number): Point {
    const square = 2 ** MARGIN_LEVELS;
    const east = (longitude + 180) / 360;
    const south = 0.5 - Math.log(Math.tan(Math.PI / 4 + (latitude * Math.PI) / 360)) / (2 * Math.PI);
    return [(east * square - CELL) * this.side, (south * square - CELL) * this.side];
  }

  /** West, south, east, north of a box, as MapLibre takes them. */
  bounds(box: Box = [0, 0, this.width, this.height]): [number, number, number, number] {
    const [west, north] = this.toLngLat([box[0], box[1]]);
    const [east, south] = this.toLngLat([box[2], box[3]]);
    return [west, south, east, north];
  }

  clip(box: Box): Box {
    const [x0, y0, x1, y1] = box;
    return [
      Math.min(Math.max(x0, 0), this.width),
      Math.min(Math.max(y0, 0), this.height),
      Math.min(Math.max(x1, 0), this.width),
      Math.min(Math.max(y1, 0), this.height),
    ];
  }

  inside([x, y]: Point): boolean {
    return x >= 0 && y >= 0 && x < this.width && y < this.height;
  }

  /** Columns and rows of the tiles at a zoom that cover a box. */
  tilesOf(box: Box, zoom: number): { x0: number; y0: number; x1: number; y1: number } {
    const span = TILE_PX * 2 ** (this.maxZoom - zoom);
    const [x0, y0, x1, y1] = this.clip(box);
    return {
      x0: Math.floor(x0 / span),
      y0: Math.floor(y0 / span),
      x1: Math.ceil(x1 / span) - 1,
      y1: Math.ceil(y1 / span) - 1,
    };
  }
}
