"""Change a scene between its two dates: what is new, and what is gone."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from changedet.synthetic.elements import Building, Landscape, Patch, Presence, Road, Water
from changedet.synthetic.layout import (
    Boundary,
    LandLayout,
    make_hall,
    make_house,
    subdivide,
    without_trees_on,
)
from changedet.synthetic.shapes import (
    Points,
    area,
    blob,
    contains,
    cut,
    gap,
    inset,
    rectangle,
)

#: How often a pair has 0, 1, 2, ... changes.
_COUNTS = (0.1, 0.14, 0.22, 0.24, 0.18, 0.12)
_ATTEMPTS = 14
_SMALLEST_AREA = 260.0

_Change = Callable[[np.random.Generator, LandLayout], LandLayout | None]


def apply_changes(rng: np.random.Generator, layout: LandLayout) -> Landscape:
    """Let a few things appear or vanish; sometimes nothing does."""
    kinds: tuple[tuple[_Change, float], ...] = (
        (_change_houses, 0.24),
        (_build_on_open_ground, 0.2),
        (_convert_land, 0.36),
        (_build_road, 0.06),
        (_dig_pond, 0.14),
    )
    wanted = int(rng.choice(len(_COUNTS), p=_COUNTS))
    weights = [weight for _, weight in kinds]
    for _ in range(_ATTEMPTS):
        if wanted == 0:
            break
        change, _ = kinds[rng.choice(len(kinds), p=weights)]
        changed = change(rng, layout)
        if changed is not None:
            layout = changed
            wanted -= 1
    return without_trees_on(layout.scene, layout.scene.changed_outlines())


def _is_seen(scene: Landscape, outline: Points) -> bool:
    """Whether the middle of an outline lies well inside the image."""
    middle, border = outline.mean(axis=0), min(9.0, scene.side / 4)
    return bool(((middle > border) & (middle < scene.side - border)).all())


def _in_sight(scene: Landscape, outline: Points) -> Points:
    """Cut off what lies outside the image."""
    for corner, sign in ((0.0, 1.0), (scene.side, -1.0)):
        for normal in np.eye(2) * sign:
            if len(outline):
                outline = cut(outline, point=np.full(2, corner), normal=normal)
    return outline


def _is_free(scene: Landscape, outline: Points, *, room: float = 3.0) -> bool:
    """Whether nothing stands or flows on the ground within an outline."""
    things: tuple[Building | Water | Road, ...] = (
        *scene.buildings,
        *scene.waters,
        *scene.roads,
    )
    return all(
        gap(outline, thing.outline).min() > room and gap(thing.outline, outline).min() > room
        for thing in things
    ) and all(
        gap(outline, other).min() > room and gap(other, outline).min() > room
        for other in scene.changed_outlines()
    )


def _change_houses(rng: np.random.Generator, layout: LandLayout) -> LandLayout | None:
    scene = layout.scene
    candidates = [
        number
        for number, building in enumerate(scene.buildings)
        if building.presence == "both" and _is_seen(scene, building.outline)
    ]
    if not candidates:
        return None
    count = min(len(candidates), int(rng.integers(2, 7)))
    presence: Presence = "after" if rng.random() < 0.65 else "before"
    buildings = list(scene.buildings)
    for number in rng.choice(candidates, size=count, replace=False):
        buildings[number] = replace(buildings[number], presence=presence)
    return layout._replace(scene=replace(scene, buildings=tuple(buildings)))


def _open_ground(rng: np.random.Generator, scene: Landscape, *, margin: float) -> Points | None:
    """Choose a field or meadow that is in the image."""
    grounds = [
        _in_sight(scene, inset(parcel.outline, margin))
        for parcel in scene.parcels
        if parcel.use in ("crop", "meadow")
    ]
    grounds = [ground for ground in grounds if area(ground) > _SMALLEST_AREA]
    return grounds[rng.integers(len(grounds))] if grounds else None


def _build_on_open_ground(rng: np.random.Generator, layout: LandLayout) -> LandLayout | None:
    scene = layout.scene
    ground = _open_ground(rng, scene, margin=8.0)
    if ground is None:
        return None
    angle = rng.uniform(0, math.pi)
    spot = rng.dirichlet(np.ones(len(ground))) @ ground
    room = rectangle(spot, length=rng.uniform(30, 66), width=rng.uniform(28, 52), angle=angle)
    maker = make_hall if rng.random() < 0.6 else make_house
    building = maker(rng, room, angle=angle)
    if (
        building is None
        or not contains(ground, building.outline).all()
        or not _is_seen(scene, building.outline)
        or not _is_free(scene, building.outline)
    ):
        return None
    presence: Presence = "after" if rng.random() < 0.75 else "before"
    buildings = (*scene.buildings, replace(building, presence=presence))
    return layout._replace(scene=replace(scene, buildings=buildings))


def _convert_land(rng: np.random.Generator, layout: LandLayout) -> LandLayout | None:
    scene = layout.scene
    ground = _open_ground(rng, scene, margin=rng.uniform(5.5, 9.0))
    if ground is None:
        return None
    while area(ground) > rng.uniform(900, 3600):
        side = rng.uniform(0, 2 * math.pi)
        ground = cut(
            ground, point=ground.mean(axis=0), normal=np.array([math.cos(side), math.sin(side)])
        )
    if not _is_seen(scene, ground) or not _is_free(scene, ground, room=0.5):
        return None
    angle = rng.uniform(0, math.pi)
    is_finished = rng.random() < 0.4
    patch = Patch(ground, "concrete" if is_finished else "construction", angle, "after")
    buildings: list[Building] = []
    if is_finished or rng.random() < 0.35:
        maker, size = (make_hall, 2500) if rng.random() < 0.6 else (make_house, 1000)
        for plot in subdivide(rng, ground, largest=size)[0]:
            building = maker(rng, inset(plot, 3.0), angle=angle)
            if building is not None:
                buildings.append(replace(building, presence="after"))
    return layout._replace(
        scene=replace(
            scene,
            patches=(*scene.patches, patch),
            buildings=(*scene.buildings, *buildings),
        )
    )


def _length_in_sight(scene: Landscape, line: Points) -> float:
    points = line[0] + (line[1] - line[0]) * np.linspace(0, 1, 50)[:, np.newaxis]
    is_inside = ((points > 0) & (points < scene.side)).all(axis=1)
    return math.dist(*line) * float(is_inside.mean())


def _build_road(rng: np.random.Generator, layout: LandLayout) -> LandLayout | None:
    scene, boundaries = layout
    seen = [boundary for boundary in boundaries if _length_in_sight(scene, boundary.line) > 35]
    if not seen:
        return None
    chosen: Boundary = seen[rng.integers(len(seen))]
    road = Road(chosen.line, rng.uniform(7.5, 10.0), "asphalt", "after")
    others: tuple[Building | Water, ...] = (*scene.buildings, *scene.waters)
    if any(gap(road.outline, other.outline).min() < 1.5 for other in others):
        return None
    if any(contains(road.outline, other).any() for other in scene.changed_outlines()):
        return None
    tracks = [other for other in scene.roads if other.surface == "track"]
    roads = [*tracks, road, *(other for other in scene.roads if other.surface != "track")]
    rest = tuple(boundary for boundary in boundaries if boundary is not chosen)
    return LandLayout(replace(scene, roads=tuple(roads)), rest)


def _dig_pond(rng: np.random.Generator, layout: LandLayout) -> LandLayout | None:
    scene = layout.scene
    ground = _open_ground(rng, scene, margin=12.0)
    if ground is None:
        return None
    spot = rng.dirichlet(np.ones(len(ground))) @ ground
    outline = blob(rng, spot, radius=rng.uniform(11, 25))
    if not _is_seen(scene, outline) or not _is_free(scene, outline):
        return None
    waters = (*scene.waters, Water(outline, murk=rng.random(), presence="after"))
    return layout._replace(scene=replace(scene, waters=waters))
