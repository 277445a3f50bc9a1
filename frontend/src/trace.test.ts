import assert from "node:assert/strict";
import { test } from "node:test";
import { areaOf, crossesItself, overlap, type Polygon } from "./polygon.ts";
import { NO_DATA, traceObjects, type ScoreMap } from "./trace.ts";

function mapOf(rows: string[], scale = 1): ScoreMap {
  const codes = Int32Array.from(rows.join(""), (sign) => (sign === " " ? NO_DATA : Number(sign)));
  return { width: rows[0]!.length, height: rows.length, codes, scale };
}

const everything = { minPixels: 0, limit: 100 };

test("objects are connected by edges only, the largest first, with their figures", () => {
  const { objects, total } = traceObjects(mapOf(["5500", "9000", "0770"]), 5, everything);
  assert.equal(total, 2);
  assert.deepEqual(objects.map(({ pixels, maxCode, bbox }) => ({ pixels, maxCode, bbox })), [
    { pixels: 3, maxCode: 9, bbox: [0, 0, 2, 2] },
    { pixels: 2, maxCode: 7, bbox: [1, 2, 3, 3] },
  ]);
  assert.equal(objects[0]!.meanCode, 19 / 3);
});

test("pixels without data are no change, not even at threshold 0", () => {
  assert.deepEqual(traceObjects(mapOf(["  0"]), 0, everything).objects.map((o) => o.pixels), [1]);
});

test("a hole is a ring of its own unless it is small enough to be filled", () => {
  const rows = ["5555", "5055", "5555"];
  assert.equal(traceObjects(mapOf(rows), 5, everything).objects[0]!.geometry.coordinates.length, 2);
  assert.equal(traceObjects(mapOf(rows), 5, { minPixels: 1, limit: 9 }).objects[0]!.geometry.coordinates.length, 1);
});

test("an outline that touches itself is cut into rings that do not", () => {
  // The hole meets the outside at a corner.
  const rows = ["555", "505", "550"];
  const [object] = traceObjects(mapOf(rows), 5, everything).objects;
  assert.equal(object!.geometry.coordinates.length, 2);
  assert.equal(areaOf(object!.geometry), 7);
  for (const ring of object!.geometry.coordinates) assert.ok(!crossesItself(ring.slice(0, -1)));
});

test("outlines cover just the pixels of their object, whatever its shape", () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 60; round++) {
    const width = 1 + Math.floor(random() * 14);
    const height = 1 + Math.floor(random() * 14);
    const codes = Int32Array.from({ length: width * height }, () => Math.floor(random() * 10));
    const { objects } = traceObjects({ width, height, codes, scale: 2 }, 4, { minPixels: 0, limit: 1000 });
    const changed = codes.filter((code) => code >= 4).length;
    assert.equal(objects.reduce((sum, { pixels }) => sum + pixels, 0), changed * 4);
    for (const { geometry, pixels } of objects) {
      assert.equal(areaOf(geometry), pixels);
      for (const ring of geometry.coordinates) {
        const open = ring.slice(0, -1);
        assert.equal(new Set(open.map(String)).size, open.length);
      }
    }
  }
});

test("small objects are left out, and only so many are outlined", () => {
  const rows = ["50555055"];
  assert.deepEqual(traceObjects(mapOf(rows, 4), 5, { minPixels: 32, limit: 1 }).objects.map((o) => o.pixels), [48]);
  assert.equal(traceObjects(mapOf(rows, 4), 5, { minPixels: 32, limit: 1 }).total, 2);
});

test("overlap is the common share of the union", () => {
  const square = (x: number, side: number): Polygon => ({
    type: "Polygon",
    coordinates: [[[x, 0], [x + side, 0], [x + side, side], [x, side], [x, 0]]],
  });
  assert.equal(overlap(square(0, 8), square(0, 8)), 1);
  assert.equal(overlap(square(0, 8), square(8, 8)), 0);
  assert.ok(Math.abs(overlap(square(0, 8), square(4, 8)) - 1 / 3) < 0.05);
});

test("a bow tie crosses itself, a square does not", () => {
  assert.ok(crossesItself([[0, 0], [4, 4], [4, 0], [0, 4]]));
  assert.ok(!crossesItself([[0, 0], [4, 0], [4, 4], [0, 4]]));
});
