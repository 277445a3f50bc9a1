/** What the server of `changedet view` says and takes. All places are pixels of the result. */
import type { Box } from "./grid.ts";
import type { Polygon } from "./polygon.ts";

export type Verdict = "accepted" | "rejected" | "drawn" | "edited";
export type ImageLayer = "before" | "after";

export interface ItemSummary {
  id: string;
  name: string;
  width: number | null;
  height: number | null;
  polygons: number | null;
  problem: string | null;
}

export interface Items {
  items: ItemSummary[];
  total: number;
  base_map: string | null;
  who: string | null;
  version: string;
}

export interface LonLatMesh {
  columns: number[];
  rows: number[];
  points: [number, number][][];
}

export interface Item {
  id: string;
  name: string;
  kind: "scene" | "image_pair";
  width: number;
  height: number;
  max_zoom: number;
  crs: string | null;
  pixel_size_m: number | null;
  pixel_area_m2: number | null;
  lonlat: LonLatMesh | null;
  threshold: number;
  score_steps: number;
  min_area_px: number;
  before: string;
  after: string;
  model: string;
  change_kind: string | null;
  created: string | null;
  missing: string[];
  problems: string[];
  remarks: { severity: string; topic: string; text: string }[];
  writable: boolean;
  read_only_reason: string | null;
}

export interface Histogram {
  steps: number;
  counts: number[];
  area_m2: number[] | null;
  valid: number;
  nodata: number;
}

export interface Candidate {
  id: number | null;
  uid: string | null;
  geometry: Polygon;
  pixels: number;
  area_m2: number | null;
  mean_score: number;
  max_score: number;
  bbox: Box;
  gain: number;
}

export interface Candidates {
  candidates: Candidate[];
  total: number;
  truncated: boolean;
}

export interface Row {
  uid: string;
  verdict: Verdict;
  geometry: Polygon;
  note: string;
  who: string | null;
  when: string;
  window: Box | null;
  area_px: number;
  area_m2: number | null;
  mean_score: number | null;
  max_score: number | null;
  threshold: number | null;
  revision: number;
}

export interface Statistics {
  polygons: number;
  reviewed: number;
  accepted: number;
  rejected: number;
  drawn: number;
  edited: number;
  precision: number | null;
  low: number | null;
  high: number | null;
  expected_correct: number | null;
  expected_low: number | null;
  expected_high: number | null;
}

export interface WindowRow {
  uid: string;
  window: Box;
  who: string | null;
  when: string;
  revision: number;
}

export interface Review {
  revision: number;
  verdicts: Row[];
  deleted?: { uid: string; revision: number }[];
  windows: WindowRow[];
  statistics: Statistics;
  writable: boolean;
  read_only_reason: string | null;
}

export interface VerdictBody {
  verdict: Verdict;
  geometry: Polygon | null;
  note: string;
  who: string | null;
  window: Box | null;
  mean_score: number | null;
  max_score: number | null;
  threshold: number | null;
  known_revision: number | null;
}

export interface Values {
  column: number;
  row: number;
  before: number[] | null;
  after: number[] | null;
  score: number | null;
  changed: boolean | null;
  xy: [number, number] | null;
  lonlat: [number, number] | null;
}

/** The server's refusal, in its own words. Status 0: it could not be reached. */
export class ServerError extends Error {
  readonly status: number;
  /** On a conflict: the row as it is now, null where it is gone. */
  readonly current: Row | null;

  constructor(status: number, message: string, current: Row | null = null) {
    super(message);
    this.status = status;
    this.current = current;
  }

  /** The connection or the session is the trouble, so that the same request may succeed later. */
  get passing(): boolean {
    return this.status === 0 || this.status === 403 || this.status >= 500;
  }
}

/** Fetch from the server; throws ServerError for whatever is not a success. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ServerError(0, "The viewer's server does not answer.");
  }
  if (response.ok) return response;
  let message = `The server answered ${response.status}.`;
  let current: Row | null = null;
  try {
    const body = (await response.json()) as { error?: string; current?: Row | null };
    message = body.error ?? message;
    current = body.current ?? null;
  } catch {
    // No JSON: an answer that is not from our server's code.
  }
  throw new ServerError(response.status, message, current);
}

async function json<T>(path: string, init?: RequestInit): Promise<T> {
  return (await (await request(path, init)).json()) as T;
}

function write<T>(method: "PUT" | "DELETE", path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return json<T>(path, { method, headers, body: JSON.stringify(body) });
}

export interface Saved {
  row?: Row;
  revision: number;
  statistics: Statistics;
}

const ITEMS_PER_REQUEST = 1000;

export async function fetchItems(): Promise<Items> {
  const all = await json<Items>(`api/items?limit=${ITEMS_PER_REQUEST}`);
  while (all.items.length < all.total) {
    const more = await json<Items>(`api/items?limit=${ITEMS_PER_REQUEST}&offset=${all.items.length}`);
    if (!more.items.length) break;
    all.items.push(...more.items);
  }
  return all;
}

/** The part of the interface that concerns one item. */
export class ItemApi {
  private readonly root: string;

  constructor(id: string) {
    this.root = `api/items/${encodeURIComponent(id)}`;
  }

  item(): Promise<Item> {
    return json(this.root);
  }

  tile(layer: ImageLayer | "score", z: number, x: number, y: number): string {
    return `${this.root}/tiles/${layer}/${z}/${x}/${y}.${layer === "score" ? "png" : "webp"}`;
  }

  thumbnail(layer: ImageLayer, [x0, y0, x1, y1]: Box, size: number): string {
    return `${this.root}/thumbnail/${layer}?x0=${x0}&y0=${y0}&x1=${x1}&y1=${y1}&size=${size}`;
  }

  /** Null while the server is still counting. */
  async histogram(): Promise<Histogram | null> {
    const answer = await json<Histogram & { state: string }>(`${this.root}/histogram`);
    return answer.state === "ready" ? answer : null;
  }

  values(x: number, y: number, signal: AbortSignal): Promise<Values> {
    return json(`${this.root}/values?x=${x}&y=${y}`, { signal });
  }

  candidates(order: string): Promise<Candidates> {
    return json(`${this.root}/candidates?order=${order}&limit=5000`);
  }

  review(since: number): Promise<Review> {
    return json(`${this.root}/review?since=${since}`);
  }

  putVerdict(uid: string, body: VerdictBody): Promise<Saved> {
    return write("PUT", `${this.root}/review/verdicts/${uid}`, body);
  }

  deleteVerdict(uid: string, knownRevision: number | null): Promise<Saved> {
    return write("DELETE", `${this.root}/review/verdicts/${uid}`, { known_revision: knownRevision });
  }

  putWindow(uid: string, window: Box, who: string | null): Promise<{ row: WindowRow; revision: number }> {
    return write("PUT", `${this.root}/review/windows/${uid}`, { window, who });
  }

  deleteWindow(uid: string): Promise<unknown> {
    return write("DELETE", `${this.root}/review/windows/${uid}`, {});
  }

  export(format: "geojson" | "gpkg" | "csv"): string {
    return `${this.root}/export.${format}`;
  }
}

/** A UUID also where the page is not in a secure context, as over plain HTTP in a network. */
export function newUid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
