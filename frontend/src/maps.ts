/** Two linked maps, before and after: swiped, side by side, or one at a time. */
import {
  addProtocol,
  Map as MapLibreMap,
  removeProtocol,
  setWorkerUrl,
  type GeoJSONSource,
  type MapMouseEvent,
  type StyleSpecification,
} from "maplibre-gl";
import type { Feature } from "geojson";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { request, ServerError, type ImageLayer, type Item, type ItemApi } from "./api.ts";
import { BaseMap } from "./baseMap.ts";
import { MARGIN_LEVELS, TILE_PX, type Box, type Grid, type Point } from "./grid.ts";
import { css, FALSE_ALARM_COLOUR, HIT_COLOUR, MISS_COLOUR, OUTLINE_COLOUR, OUTLINE_HALO_COLOUR } from "./palette.ts";
import type { Polygon } from "./polygon.ts";
import { ScoreLayer, visible, type ScoreLook } from "./scoreLayer.ts";
import type { ScoreTiles } from "./scores.ts";

setWorkerUrl(new URL(workerUrl, import.meta.url).href);

export type ViewMode = "swipe" | "side" | "before" | "after";
export type OutlineKind = "open" | "accepted" | "rejected" | "drawn" | "edited" | "window";

export interface Outline {
  kind: OutlineKind;
  geometry: Polygon;
}

export interface MapEvents {
  pointer(point: Point | null): void;
  click(point: Point): void;
  doubleClick(): void;
  moved(): void;
  tileError(error: ServerError): void;
}

const DATES: ImageLayer[] = ["before", "after"];
const MOST_MAGNIFIED = 5;

export class MapPair {
  private readonly maps: Record<ImageLayer, MapLibreMap>;
  private readonly layers: ScoreLayer[] = [];
  private readonly ready: Promise<unknown>;
  private mode: ViewMode = "swipe";

  constructor(
    private readonly root: HTMLElement,
    private readonly source: { api: ItemApi; item: Item; grid: Grid; tiles: ScoreTiles; baseMap: string | null },
    look: ScoreLook,
    private readonly events: MapEvents,
  ) {
    addTileProtocols(source, (error) => events.tileError(error));
    this.maps = { before: this.create("before"), after: this.create("after") };
    this.ready = Promise.all(
      DATES.map(async (date) => {
        const map = this.maps[date];
        await map.once("style.load");
        const layer = new ScoreLayer(source.grid, source.tiles, look);
        this.layers.push(layer);
        map.addLayer(layer, "halo");
      }),
    );
    let following = false;
    for (const [leader, follower] of [DATES, [...DATES].reverse()] as [ImageLayer, ImageLayer][]) {
      this.maps[leader].on("move", () => {
        if (following) return;
        following = true;
        this.maps[follower].jumpTo({ center: this.maps[leader].getCenter(), zoom: this.maps[leader].getZoom() });
        following = false;
      });
    }
    this.maps.before.on("moveend", () => {
      this.sharpenWhenMagnified();
      events.moved();
    });
  }

  private create(date: ImageLayer): MapLibreMap {
    const { grid, item } = this.source;
    const map = new MapLibreMap({
      container: this.root.querySelector<HTMLElement>(`.map.${date}`)!,
      style: styleOf(date, this.source),
      bounds: grid.bounds(),
      fitBoundsOptions: { padding: 12 },
      minZoom: MARGIN_LEVELS - 1.5,
      maxZoom: grid.nativeMapZoom + MOST_MAGNIFIED,
      renderWorldCopies: false,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: 0,
      // Free panning: the outermost pixels can be brought to the middle.
      transformConstrain: (center, zoom) => ({
        center,
        zoom: Math.min(Math.max(zoom, MARGIN_LEVELS - 1.5), grid.nativeMapZoom + MOST_MAGNIFIED),
      }),
    });
    map.touchZoomRotate.disableRotation();
    map.keyboard.disableRotation();
    const name = date === "before" ? `Before: ${item.before}` : `After: ${item.after}`;
    map.getCanvas().setAttribute("aria-label", `${name}. Arrow keys move the map, + and - zoom.`);
    const pixel = (event: MapMouseEvent) => grid.toPixel(event.lngLat.lng, event.lngLat.lat);
    map.on("mousemove", (event) => this.events.pointer(pixel(event)));
    map.on("mouseout", () => this.events.pointer(null));
    map.on("click", (event) => this.events.click(pixel(event)));
    map.on("dblclick", (event) => {
      if (!map.doubleClickZoom.isEnabled()) event.preventDefault();
      this.events.doubleClick();
    });
    // Tiles that fail are told by their protocol, in plain words.
    map.on("error", () => undefined);
    return map;
  }

  remove(): void {
    for (const date of DATES) this.maps[date].remove();
    for (const name of ["cd", "cdbase"]) removeProtocol(name);
  }

  setMode(mode: ViewMode): void {
    this.mode = mode;
    this.root.dataset["mode"] = mode;
    for (const date of DATES) this.maps[date].resize();
    this.maps.after.jumpTo({ center: this.maps.before.getCenter(), zoom: this.maps.before.getZoom() });
  }

  resize(): void {
    this.setMode(this.mode);
  }

  /** Draw again after the scores or how they look have changed. */
  repaint(): void {
    for (const date of DATES) this.maps[date].triggerRepaint();
  }

  /** Load image tiles again that were refused before. */
  reloadImages(): void {
    for (const date of DATES) this.maps[date].refreshTiles("image");
  }

  async setOutlines(outlines: Outline[]): Promise<void> {
    await this.setData("outlines", outlines.map(({ kind, geometry }) => this.feature(geometry, { kind })));
  }

  async setSelected(selected: Polygon | null): Promise<void> {
    await this.setData("selected", selected ? [this.feature(selected, {})] : []);
  }

  /** Show a polygon that is being drawn, given without its closing point. */
  async setSketch(points: Point[], pointer: Point | null): Promise<void> {
    const line = (pointer ? [...points, pointer] : points).map((point) => this.source.grid.toLngLat(point));
    const features: Feature[] = points.map((point) => ({
      type: "Feature",
      properties: {},
      geometry: { type: "Point", coordinates: this.source.grid.toLngLat(point) },
    }));
    if (line.length > 1) {
      const closed = line.length > 2 ? [...line, line[0]!] : line;
      features.push({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: closed } });
    }
    await this.setData("sketch", features);
  }

  private feature({ coordinates }: Polygon, properties: Record<string, unknown>): Feature {
    const rings = coordinates.map((ring) => ring.map((point) => this.source.grid.toLngLat(point)));
    return { type: "Feature", properties, geometry: { type: "Polygon", coordinates: rings } };
  }

  private async setData(name: string, features: Feature[]): Promise<void> {
    await this.ready;
    for (const date of DATES) {
      void (this.maps[date].getSource(name) as GeoJSONSource | undefined)?.setData({ type: "FeatureCollection", features });
    }
  }

  async setOutlinesVisible(visible: boolean): Promise<void> {
    await this.ready;
    for (const date of DATES) {
      for (const layer of ["halo", "outlines", "dashed"]) {
        this.maps[date].setLayoutProperty(layer, "visibility", visible ? "visible" : "none");
      }
    }
  }

  setDrawing(drawing: boolean): void {
    for (const date of DATES) {
      this.maps[date].doubleClickZoom[drawing ? "disable" : "enable"]();
      this.maps[date].getCanvas().style.cursor = drawing ? "crosshair" : "";
    }
  }

  /** Give the keyboard to the map that is seen. */
  focus(): void {
    this.maps[this.mode === "after" ? "after" : "before"].getCanvas().focus();
  }

  flyTo(box: Box): void {
    const side = Math.max(box[2] - box[0], box[3] - box[1], 24);
    const more = side * 0.3;
    const around: Box = [box[0] - more, box[1] - more, box[2] + more, box[3] + more];
    this.fit(around, this.source.grid.nativeMapZoom + 2);
  }

  fitAll(): void {
    const { width, height } = this.source.grid;
    this.fit([0, 0, width, height], this.source.grid.nativeMapZoom + MOST_MAGNIFIED);
  }

  private fit(box: Box, maxZoom: number): void {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const options = { padding: 24, maxZoom, duration: calm ? 0 : 500, linear: true };
    this.maps.before.fitBounds(this.source.grid.bounds(box), options);
  }

  zoomBy(steps: number): void {
    this.maps.before.zoomTo(this.maps.before.getZoom() + steps, { duration: 150 });
  }

  panBy(x: number, y: number): void {
    this.maps.before.panBy([x, y], { duration: 0 });
  }

  get view(): { centre: Point; scale: number; box: Box } {
    return visible(this.maps.before, this.source.grid);
  }

  private sharpenWhenMagnified(): void {
    const resampling = this.maps.before.getZoom() > this.source.grid.nativeMapZoom + 0.5 ? "nearest" : "linear";
    for (const date of DATES) {
      if (this.maps[date].getLayer("image")) this.maps[date].setPaintProperty("image", "raster-resampling", resampling);
    }
  }
}

type Source = { api: ItemApi; item: Item; grid: Grid; baseMap: string | null };

/** Addresses of tiles as MapLibre counts them, turned into those of the server. */
function addTileProtocols({ api, item, grid, baseMap }: Source, onError: (error: ServerError) => void): void {
  const numbers = (address: string) => address.split("/").slice(-3).map(Number) as [number, number, number];
  addProtocol("cd", async ({ url }, abort) => {
    const [z, x, y] = numbers(url);
    const level = z - MARGIN_LEVELS;
    const first = 2 ** level;
    const date = url.includes("//before/") ? "before" : "after";
    try {
      const response = await request(api.tile(date, level, x - first, y - first), { signal: abort.signal });
      if (response.status === 204) return { data: await emptyTile() };
      return { data: await createImageBitmap(await response.blob()) };
    } catch (error) {
      if (error instanceof ServerError) onError(error);
      throw error;
    }
  });
  if (!baseMap || !item.lonlat) return;
  const base = new BaseMap(baseMap, item.lonlat, grid);
  addProtocol("cdbase", async ({ url }) => {
    try {
      return { data: await base.tile(...numbers(url)) };
    } catch (error) {
      onError(new ServerError(0, "The base map does not answer; everything else works without it."));
      throw error;
    }
  });
}

function emptyTile(): Promise<ImageBitmap> {
  return createImageBitmap(new ImageData(1, 1));
}

function styleOf(date: ImageLayer, { grid, item, baseMap }: Source): StyleSpecification {
  const none = { type: "geojson" as const, data: { type: "FeatureCollection" as const, features: [] } };
  const colours = [
    ["accepted", HIT_COLOUR],
    ["edited", HIT_COLOUR],
    ["drawn", MISS_COLOUR],
    ["rejected", FALSE_ALARM_COLOUR],
    ["window", MISS_COLOUR],
  ] as const;
  const colour = ["match", ["get", "kind"], ...colours.flatMap(([kind, value]) => [kind, css(value)]), css(OUTLINE_COLOUR)];
  // Thin from afar, so that many small outlines do not hide the image.
  const width = (far: number, near: number) =>
    ["interpolate", ["linear"], ["zoom"], grid.nativeMapZoom - 1, far, grid.nativeMapZoom + 0.5, near] as never;
  const dashed = ["in", ["get", "kind"], ["literal", ["rejected", "window"]]];
  const style: StyleSpecification = {
    version: 8,
    sources: {
      image: {
        type: "raster",
        tiles: [`cd://${date}/{z}/{x}/{y}`],
        tileSize: TILE_PX,
        minzoom: MARGIN_LEVELS,
        maxzoom: grid.maxZoom + MARGIN_LEVELS,
        bounds: grid.bounds(),
      },
      outlines: none,
      selected: none,
      sketch: none,
    },
    layers: [
      { id: "image", type: "raster", source: "image", paint: { "raster-fade-duration": 0 } },
      { id: "halo", type: "line", source: "outlines", paint: { "line-color": css(OUTLINE_HALO_COLOUR), "line-width": width(2.4, 4), "line-opacity": 0.6 } },
      { id: "outlines", type: "line", source: "outlines", filter: ["!", dashed] as never, paint: { "line-color": colour as never, "line-width": width(1.1, 2) } },
      { id: "dashed", type: "line", source: "outlines", filter: dashed as never, paint: { "line-color": colour as never, "line-width": width(1.3, 2.2), "line-dasharray": [2, 1.5] } },
      { id: "selected-halo", type: "line", source: "selected", paint: { "line-color": css(OUTLINE_HALO_COLOUR), "line-width": 6, "line-opacity": 0.8 } },
      { id: "selected", type: "line", source: "selected", paint: { "line-color": "#ffffff", "line-width": 3 } },
      { id: "sketch-halo", type: "line", source: "sketch", filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": css(OUTLINE_HALO_COLOUR), "line-width": 5 } },
      { id: "sketch", type: "line", source: "sketch", filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": css(MISS_COLOUR), "line-width": 3 } },
      { id: "corners", type: "circle", source: "sketch", filter: ["==", ["geometry-type"], "Point"], paint: { "circle-radius": 5, "circle-color": css(MISS_COLOUR), "circle-stroke-color": "#ffffff", "circle-stroke-width": 2 } },
    ],
  };
  if (baseMap && item.lonlat) {
    style.sources["base"] = { type: "raster", tiles: ["cdbase://{z}/{x}/{y}"], tileSize: TILE_PX, minzoom: 0, maxzoom: grid.maxZoom + MARGIN_LEVELS };
    style.layers.unshift({ id: "base", type: "raster", source: "base", paint: { "raster-fade-duration": 0, "raster-opacity": 0.8 } });
  }
  return style;
}
