"""Lay out a scene: land cut into parcels along roads, and what grows and stands on them."""

import math
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from changedet.synthetic.elements import Building, Landscape, Parcel, Patch, Road, Tree, Use, Water
from changedet.synthetic.shapes import (
    Points,
    area,
    blob,
    contains,
    cut,
    gap,
    inset,
    longest_edge_angle,
    rectangle,
    ribbon,
)

Setting = Literal["farmland", "village", "industry"]

SETTINGS: tuple[Setting, ...] = ("farmland", "village", "industry")
_USES: dict[Setting, dict[Use, float]] = {
    "farmland": {"crop": 0.7, "meadow": 0.13, "forest": 0.09, "garden": 0.08},
    "village": {"crop": 0.3, "meadow": 0.12, "forest": 0.08, "garden": 0.5},
    "industry": {"crop": 0.22, "meadow": 0.22, "forest": 0.08, "garden": 0.13, "yard": 0.35},
}
_GABLES = ((160, 98, 76), (138, 84, 68), (98, 95, 97), (118, 92, 78), (172, 118, 92))
_FLATS = ((206, 206, 202), (172, 174, 176), (142, 150, 160), (120, 122, 126), (196, 188, 176))


#: Bending moves things by less than this, so that land further outside is never seen.
_BEYOND_PX = 12.0


class Boundary(NamedTuple):
    """A line along which land was cut, and how early: 0 is the first cut."""

    line: Points
    depth: int


class LandLayout(NamedTuple):
    """A scene without changes and the boundaries that are no road yet."""

    scene: Landscape
    boundaries: tuple[Boundary, ...]


def plan_layout(rng: np.random.Generator, side: float) -> LandLayout:
    """Lay out one scene on land of SIDE x SIDE metres."""
    setting: Setting = SETTINGS[rng.choice(3, p=(0.45, 0.35, 0.2))]
    middle = np.full(2, side / 2)
    reach = side * 1.5
    land = rectangle(middle, length=reach, width=reach, angle=rng.uniform(0, math.pi))
    plots, boundaries = subdivide(
        rng, land, largest=rng.uniform(5000, 10000), first_point=middle + rng.uniform(-40, 40, 2)
    )
    roads, free = _roads(rng, boundaries)
    parcels = tuple(_parcel(rng, outline, setting) for outline in plots if _is_near(outline, side))
    scene = Landscape(side=side, parcels=parcels, roads=tuple(roads))
    for parcel in parcels:
        scene = _furnish(rng, scene, parcel)
    scene = _with_hedges(rng, scene, free)
    scene = _with_water(rng, scene)
    return LandLayout(_without_collisions(scene), tuple(free))


def subdivide(
    rng: np.random.Generator, land: Points, *, largest: float, first_point: Points | None = None
) -> tuple[list[Points], list[Boundary]]:
    """Cut convex land across its longer extent until no piece is larger than ``largest``."""
    done: list[Points] = []
    boundaries: list[Boundary] = []
    waiting = [(land, 0)]
    while waiting:
        piece, depth = waiting.pop()
        if area(piece) < largest * rng.uniform(0.6, 1.3):
            done.append(piece)
            continue
        angle = longest_edge_angle(piece)
        along = np.array([math.cos(angle), math.sin(angle)])
        spread = (piece - piece.mean(axis=0)) @ along
        point = piece.mean(axis=0) + along * rng.uniform(-0.17, 0.17) * np.ptp(spread)
        if depth == 0 and first_point is not None:
            point = first_point
        tilt = angle + rng.normal(0, 0.09)
        normal = np.array([math.cos(tilt), math.sin(tilt)])
        near = cut(piece, point=point, normal=normal)
        far = cut(piece, point=point, normal=-normal)
        if len(near) < 3 or len(far) < 3:
            done.append(piece)
            continue
        shared = near[np.abs((near - point) @ normal) < 1e-6]
        if len(shared) >= 2:
            boundaries.append(Boundary(shared[:2], depth))
        waiting += [(near, depth + 1), (far, depth + 1)]
    return done, boundaries


def _is_near(outline: Points, side: float) -> bool:
    """Whether an outline may come into sight."""
    reaches = (outline.max(axis=0) > -_BEYOND_PX) & (outline.min(axis=0) < side + _BEYOND_PX)
    return bool(reaches.all())


def _roads(
    rng: np.random.Generator, boundaries: list[Boundary]
) -> tuple[list[Road], list[Boundary]]:
    roads: list[Road] = []
    free: list[Boundary] = []
    for boundary in sorted(boundaries, key=lambda each: -each.depth):
        chance = rng.random()
        if chance < (0.92, 0.6, 0.35, 0.12)[min(boundary.depth, 3)]:
            width = rng.uniform(8.5, 10.5) if boundary.depth == 0 else rng.uniform(5.5, 7.5)
            roads.append(Road(boundary.line, width, "asphalt"))
        elif chance > 0.8:
            roads.append(Road(boundary.line, rng.uniform(3.0, 4.2), "track"))
        else:
            free.append(boundary)
    # Tracks first, so that asphalt crosses over them.
    return sorted(roads, key=lambda road: road.width), free


def _parcel(rng: np.random.Generator, outline: Points, setting: Setting) -> Parcel:
    uses = _USES[setting]
    use: Use = list(uses)[rng.choice(len(uses), p=list(uses.values()))]
    return Parcel(
        outline=outline,
        use=use,
        direction=longest_edge_angle(outline) + rng.choice((0.0, math.pi / 2), p=(0.8, 0.2)),
        phase=rng.random(),
        tint=rng.normal(0, 2.5, 3) + rng.normal(0, 6),
    )


def _furnish(rng: np.random.Generator, scene: Landscape, parcel: Parcel) -> Landscape:
    if parcel.use == "garden":
        return _with_houses(rng, scene, parcel)
    if parcel.use == "yard":
        return _with_halls(rng, scene, parcel)
    if parcel.use == "forest":
        return _with_trees(rng, scene, parcel.outline, spacing=7.5, conifers=rng.choice((0.1, 0.8)))
    if parcel.use == "meadow":
        return _with_trees(rng, scene, parcel.outline, spacing=rng.uniform(30, 80), conifers=0.1)
    if rng.random() < 0.15:
        return _with_barn(rng, scene, parcel)
    return scene


def _with_houses(rng: np.random.Generator, scene: Landscape, parcel: Parcel) -> Landscape:
    plots, fences = subdivide(rng, inset(parcel.outline, 6.0), largest=rng.uniform(1100, 1900))
    for plot in (plot for plot in plots if _is_near(plot, scene.side)):
        house = make_house(rng, plot, angle=parcel.direction)
        if house is None or rng.random() < 0.12:
            scene = _with_trees(rng, scene, plot, spacing=16, conifers=0.3)
            continue
        drive = rectangle(
            house.outline.mean(axis=0) + rng.uniform(-7, 7, 2),
            length=rng.uniform(10, 16),
            width=rng.uniform(3.5, 6),
            angle=parcel.direction + math.pi / 2,
        )
        material: Literal["concrete", "gravel"] = "concrete" if rng.random() < 0.5 else "gravel"
        patch = Patch(drive, material, parcel.direction)
        scene = replace(
            scene,
            buildings=(*scene.buildings, house),
            patches=(*scene.patches, patch) if rng.random() < 0.7 else scene.patches,
        )
        scene = _with_trees(rng, scene, plot, spacing=rng.uniform(14, 26), conifers=0.3)
    for fence in fences:
        if rng.random() < 0.5:
            scene = _with_row(rng, scene, fence.line, radius=1.3)
    return scene


def make_house(rng: np.random.Generator, plot: Points, *, angle: float) -> Building | None:
    """Place a gabled house on a plot, or none where it does not fit."""
    room = inset(plot, 2.5)
    if area(room) < 160:
        return None
    for _ in range(6):
        centre = room.mean(axis=0) + rng.uniform(-8, 8, 2)
        outline = rectangle(
            centre,
            length=rng.uniform(14, 21),
            width=rng.uniform(10, 14),
            angle=angle + rng.normal(0, 0.05) + rng.choice((0.0, math.pi / 2)),
        )
        if contains(room, outline).all():
            colour = np.array(_GABLES[rng.integers(len(_GABLES))]) * rng.uniform(0.88, 1.12)
            return Building(outline, rng.uniform(5.5, 8.5), "gable", colour)
    return None


def make_hall(rng: np.random.Generator, room: Points, *, angle: float) -> Building | None:
    """Place a flat-roofed hall on convex ground, or none where it does not fit."""
    for shrink in (1.0, 0.85, 0.7, 0.55, 0.45, 0.35):
        length = math.sqrt(max(area(room), 1.0)) * rng.uniform(0.7, 1.0) * shrink
        outline = rectangle(
            room.mean(axis=0) + rng.uniform(-6, 6, 2),
            length=length,
            width=length * rng.uniform(0.4, 0.8),
            angle=angle,
        )
        if length > 14 and contains(room, outline).all():
            colour = np.array(_FLATS[rng.integers(len(_FLATS))]) * rng.uniform(0.9, 1.1)
            return Building(outline, rng.uniform(7, 12), "flat", colour)
    return None


def _with_halls(rng: np.random.Generator, scene: Landscape, parcel: Parcel) -> Landscape:
    ground = inset(parcel.outline, 6.0)
    if area(ground) < 600:
        return scene
    scene = replace(scene, patches=(*scene.patches, Patch(ground, "concrete", parcel.direction)))
    halls, _ = subdivide(rng, ground, largest=rng.uniform(2500, 6000))
    for room in (hall for hall in halls if _is_near(hall, scene.side)):
        hall = make_hall(rng, inset(room, 4.0), angle=parcel.direction)
        if hall is not None:
            scene = replace(scene, buildings=(*scene.buildings, hall))
    return scene


def _with_barn(rng: np.random.Generator, scene: Landscape, parcel: Parcel) -> Landscape:
    ground = inset(parcel.outline, 8.0)
    if area(ground) < 400:
        return scene
    corner = ground[rng.integers(len(ground))] * 0.7 + ground.mean(axis=0) * 0.3
    outline = rectangle(
        corner, length=rng.uniform(20, 34), width=rng.uniform(11, 15), angle=parcel.direction
    )
    if not contains(ground, outline).all():
        return scene
    colour = np.array(_GABLES[rng.integers(len(_GABLES))]) * rng.uniform(0.88, 1.12)
    yard = Patch(rectangle(corner, length=46, width=30, angle=parcel.direction), "gravel", 0.0)
    barn = Building(outline, rng.uniform(6, 9), "gable", colour)
    return replace(scene, buildings=(*scene.buildings, barn), patches=(*scene.patches, yard))


def _with_trees(
    rng: np.random.Generator, scene: Landscape, ground: Points, *, spacing: float, conifers: float
) -> Landscape:
    room = inset(ground, 2.0)
    if len(room) == 0:
        return scene
    low, high = np.maximum(room.min(axis=0), -8), np.minimum(room.max(axis=0), scene.side + 8)
    if (high <= low).any():
        return scene
    steps = [np.arange(low[axis], high[axis], spacing) for axis in (0, 1)]
    grid = np.stack(np.meshgrid(*steps), axis=-1).reshape(-1, 2)
    points = grid + rng.uniform(-0.45, 0.45, grid.shape) * spacing
    points = points[contains(room, points)]
    trees = tuple(
        Tree(x, y, rng.uniform(2.6, 6.0), bool(rng.random() < conifers), rng.uniform(-1, 1))
        for x, y in points.tolist()
    )
    return replace(scene, trees=(*scene.trees, *trees))


def _with_row(
    rng: np.random.Generator, scene: Landscape, line: Points, *, radius: float
) -> Landscape:
    start, end = line
    count = max(2, int(math.dist(start, end) / (radius * 1.3)))
    points = start + (end - start) * np.linspace(0, 1, count)[:, np.newaxis]
    points = points + rng.normal(0, radius * 0.25, points.shape)
    inside = ((points > -8) & (points < scene.side + 8)).all(axis=1)
    shade = rng.uniform(-1, 1)
    row = tuple(
        Tree(
            x,
            y,
            radius * rng.uniform(0.8, 1.5),
            is_conifer=False,
            shade=shade + rng.uniform(-0.3, 0.3),
        )
        for x, y in points[inside & (rng.random(count) > 0.08)].tolist()
    )
    return replace(scene, trees=(*scene.trees, *row))


def _with_hedges(
    rng: np.random.Generator, scene: Landscape, boundaries: list[Boundary]
) -> Landscape:
    for boundary in boundaries:
        chance = rng.random()
        if chance < 0.35:
            scene = _with_row(rng, scene, boundary.line, radius=rng.uniform(1.6, 2.6))
        elif chance < 0.5:
            scene = _with_row(rng, scene, boundary.line, radius=rng.uniform(3.2, 4.2))
    return scene


def _with_water(rng: np.random.Generator, scene: Landscape) -> Landscape:
    chance = rng.random()
    if chance < 0.18:
        river, bank = _river(rng, scene.side)
        return replace(scene, waters=(*scene.waters, river), patches=(*scene.patches, bank))
    if chance < 0.42:
        centre = rng.uniform(0.1, 0.9, 2) * scene.side
        pond = Water(blob(rng, centre, radius=rng.uniform(10, 26)), murk=rng.random())
        return replace(scene, waters=(*scene.waters, pond))
    return scene


def _river(rng: np.random.Generator, side: float) -> tuple[Water, Patch]:
    angle = rng.uniform(0, math.pi)
    along, across = (
        np.array([math.cos(turn), math.sin(turn)]) for turn in (angle, angle + math.pi / 2)
    )
    position = np.linspace(-side, side, 80)
    bend = rng.uniform(8, 22) * np.sin(position / rng.uniform(28, 55) + rng.uniform(0, 6.3))
    bend = bend + rng.uniform(-0.35, 0.35) * side
    line = side / 2 + position[:, np.newaxis] * along + bend[:, np.newaxis] * across
    width = rng.uniform(11, 24)
    bank = Patch(ribbon(line, width + rng.uniform(8, 16)), "verge", angle)
    return Water(ribbon(line, width), murk=rng.random()), bank


def _without_collisions(scene: Landscape) -> Landscape:
    """Take away what would stand in water or on a road, and trees that grow through roofs."""
    buildings = tuple(
        building
        for building in scene.buildings
        if all(gap(water.outline, building.outline).min() > 8 for water in scene.waters)
    )
    solids = [
        *(road.outline for road in scene.roads),
        *(water.outline for water in scene.waters),
        *(building.outline for building in buildings),
    ]
    scene = replace(scene, buildings=buildings)
    return without_trees_on(scene, solids)


def without_trees_on(scene: Landscape, outlines: list[Points]) -> Landscape:
    """Take away the trees whose crowns reach over any of the outlines."""
    if not scene.trees:
        return scene
    points = np.array([(tree.x, tree.y) for tree in scene.trees])
    radius = np.array([tree.radius for tree in scene.trees])
    is_free = np.ones(len(points), dtype=bool)
    for outline in outlines:
        reach = radius[:, np.newaxis]
        is_beside = (points > outline.min(axis=0) - reach) & (points < outline.max(axis=0) + reach)
        near = np.flatnonzero(is_beside.all(axis=1))
        is_free[near] &= gap(outline, points[near]) > radius[near] * 0.9
    trees = tuple(tree for tree, keep in zip(scene.trees, is_free, strict=True) if keep)
    return replace(scene, trees=trees)
