/** The list of changes: polygons of the result or of another threshold, each with its verdict. */
import type { Candidate, Row } from "./api.ts";
import type { Box } from "./grid.ts";
import { boxesMeet, boxOf, overlap, type Polygon } from "./polygon.ts";

export type Order = "area" | "score" | "gain" | "verdict" | "random";
export type VerdictFilter = "all" | "open" | "accepted" | "rejected" | "drawn";

export interface Entry {
  /** Stays the same while the same polygons are listed. */
  key: string;
  candidate: Candidate | null;
  row: Row | null;
  geometry: Polygon;
  bbox: Box;
  pixels: number;
  areaM2: number | null;
  meanScore: number | null;
  gain: number;
}

export interface Filter {
  verdict: VerdictFilter;
  minArea: number;
  minScore: number;
}

/** So much of their union must be in common for a verdict to hold for another outline as well. */
const SAME = 0.5;

/**
 * Bring polygons and verdicts together: by their id, else by their place. Verdicts that belong to
 * none of the polygons, such as drawn ones, are entries of their own.
 */
export function combine(candidates: Candidate[], rows: Iterable<Row>): Entry[] {
  const free = new Map<string, Row>();
  for (const row of rows) free.set(row.uid, row);
  const taken = new Map<Candidate, Row>();
  for (const candidate of candidates) {
    const row = candidate.uid === null ? undefined : free.get(candidate.uid);
    if (row) {
      taken.set(candidate, row);
      free.delete(row.uid);
    }
  }
  for (const row of free.values()) {
    const match = row.verdict === "drawn" ? undefined : bestMatch(row, candidates, taken);
    if (match) {
      taken.set(match, row);
      free.delete(row.uid);
    }
  }
  const listed = candidates.map((candidate) => entryOf(candidate, taken.get(candidate) ?? null));
  return [...listed, ...[...free.values()].map((row) => ownEntry(row))];
}

function bestMatch(row: Row, candidates: Candidate[], taken: Map<Candidate, Row>): Candidate | undefined {
  const box = boxOf(row.geometry);
  let best: Candidate | undefined;
  let most = SAME;
  for (const candidate of candidates) {
    if (taken.has(candidate) || !boxesMeet(box, candidate.bbox)) continue;
    const common = overlap(row.geometry, candidate.geometry);
    if (common >= most) [best, most] = [candidate, common];
  }
  return best;
}

function entryOf(candidate: Candidate, row: Row | null): Entry {
  const geometry = row?.verdict === "edited" ? row.geometry : candidate.geometry;
  return {
    key: candidate.uid ?? `at ${candidate.bbox.join(" ")} ${candidate.pixels}`,
    candidate,
    row,
    geometry,
    bbox: boxOf(geometry),
    pixels: candidate.pixels,
    areaM2: candidate.area_m2,
    meanScore: candidate.mean_score,
    gain: candidate.gain,
  };
}

function ownEntry(row: Row): Entry {
  const { uid, geometry, area_px: pixels, area_m2: areaM2, mean_score: meanScore } = row;
  return { key: uid, candidate: null, row, geometry, bbox: boxOf(geometry), pixels, areaM2, meanScore, gain: 0 };
}

/** Where verdicts stand in the order: what nobody has judged first. */
const RANKS = { open: 0, accepted: 1, edited: 2, drawn: 3, rejected: 4 };

export function sorted(entries: Entry[], order: Order): Entry[] {
  const sizeOf = (entry: Entry) => entry.areaM2 ?? entry.pixels;
  const rank = (entry: Entry) => RANKS[entry.row?.verdict ?? "open"];
  const compare: Record<Order, (a: Entry, b: Entry) => number> = {
    area: (a, b) => sizeOf(b) - sizeOf(a),
    score: (a, b) => (b.meanScore ?? 0) - (a.meanScore ?? 0),
    gain: (a, b) => b.gain - a.gain,
    verdict: (a, b) => rank(a) - rank(b) || sizeOf(b) - sizeOf(a),
    random: (a, b) => shuffled(a.key) - shuffled(b.key),
  };
  return [...entries].sort(compare[order]);
}

/** A number that depends on nothing but the key: the same random order at every visit (FNV-1a). */
function shuffled(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  // Final mixing of MurmurHash3: keys that differ in their last digit only land far apart.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export function passes(entry: Entry, filter: Filter): boolean {
  const verdict = entry.row?.verdict ?? "open";
  const kind = verdict === "edited" ? "accepted" : verdict;
  return (
    (filter.verdict === "all" || filter.verdict === kind) &&
    (entry.areaM2 ?? entry.pixels) >= filter.minArea &&
    (entry.meanScore ?? 1) >= filter.minScore
  );
}

export interface Tally {
  listed: number;
  reviewed: number;
  accepted: number;
}

/** How many of the listed polygons are judged; drawn ones are no polygons of the model. */
export function tally(entries: Entry[]): Tally {
  const ofModel = entries.filter((entry) => entry.candidate);
  const judged = ofModel.filter((entry) => entry.row);
  const accepted = judged.filter((entry) => entry.row!.verdict !== "rejected").length;
  return { listed: ofModel.length, reviewed: judged.length, accepted };
}
