/** Outlines objects beside the page, so that the slider stays smooth. */
import { traceObjects, type ScoreMap, type TracedObject } from "./trace.ts";

export type ToWorker =
  | { kind: "map"; map: ScoreMap }
  | { kind: "trace"; number: number; lowestCode: number; minPixels: number; limit: number };
export interface FromWorker {
  number: number;
  objects: TracedObject[];
  total: number;
}

let map: ScoreMap | null = null;

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "map") {
    map = data.map;
  } else if (map) {
    const { objects, total } = traceObjects(map, data.lowestCode, data);
    self.postMessage({ number: data.number, objects, total } satisfies FromWorker);
  }
};
