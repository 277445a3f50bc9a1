"""Draw a scene as seen from above on one date, and the label of what changed."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from changedet.synthetic import seasons
from changedet.synthetic.canvas import Canvas, Plane, Relief, scaled
from changedet.synthetic.elements import (
    Building,
    Date,
    Landscape,
    Parcel,
    Patch,
    Presence,
    Road,
    Water,
)
from changedet.synthetic.seasons import Ground, Season
from changedet.synthetic.shapes import (
    Points,
    area,
    blob,
    contains,
    distance_to_outline,
    inset,
    rectangle,
    ribbon,
)

#: Labels are drawn this many times larger, to see how much of a pixel is covered.
_SUPERSAMPLING = 4
_CARS = ((206, 206, 204), (60, 62, 66), (148, 36, 34), (46, 66, 110), (150, 152, 156))


class _Day(NamedTuple):
    """One date's season and sun, and the source of what is there for that day only."""

    season: Season
    rng: np.random.Generator


def draw_scene(
    scene: Landscape, date: Date, season: Season, *, relief: Relief, rng: np.random.Generator
) -> Plane:
    """Draw a scene on one date.

    Args:
        scene: What stands where.
        date: Which of the two dates.
        season: Time of the year and sun.
        relief: Unevenness of the ground, of the canvas's size.
        rng: Source of what is there for a day only: cars, the state of water and soil.

    Returns:
        Reflectance in grey levels, (H, W, 3), before haze and camera.
    """
    canvas, day = Canvas(scene.side_px, px_per_m=scene.px_per_m), _Day(season, rng)
    for parcel in scene.parcels:
        canvas.spread(parcel.outline, _land(parcel, day), direction=parcel.direction)
    there: tuple[Presence, ...] = ("both", date)
    for patch in scene.patches:
        if patch.presence in there:
            _draw_patch(canvas, patch, day)
    for body in scene.waters:
        if body.presence in there:
            _draw_water(canvas, body, day)
    for road in scene.roads:
        if road.presence in there:
            _draw_road(canvas, road)
            _draw_cars(canvas, road, day)
    _draw_trees(canvas, scene, season)
    for building in scene.buildings:
        if building.presence in there:
            _draw_building(canvas, building, season)
    return canvas.compose(relief, rng)


def _land(parcel: Parcel, day: _Day) -> Ground:
    season, rng = day
    grass = seasons.grass(season)
    if parcel.use == "crop":
        ground = seasons.crop(season, parcel.phase)
        return ground._replace(colour=ground.colour + parcel.tint + rng.normal(0, 3, 3))
    if parcel.use == "forest":
        return Ground(grass * 0.62 + parcel.tint, 0.0, 9.0, 0.0, 0.1)
    mown = 0.05 if rng.random() < 0.4 else 0.0
    return Ground(grass + parcel.tint + rng.normal(0, 3, 3), mown, 5.0, 0.0, 0.08)


def _draw_patch(canvas: Canvas, patch: Patch, day: _Day) -> None:
    season, rng = day
    if patch.material == "verge":
        canvas.spread(patch.outline, Ground(seasons.grass(season) * 0.9, 0.0, 9.0, 0.0, 0.09))
        return
    ground = seasons.MATERIALS[patch.material]
    canvas.spread(patch.outline, ground, direction=patch.direction)
    if patch.material == "construction":
        for spot in _spots(patch.outline, rng, count=int(rng.integers(3, 8))):
            heap = blob(rng, spot, radius=rng.uniform(1.5, 4.0))
            colour = ground.colour * rng.uniform(0.7, 1.1)
            canvas.paint(heap, colour)
    elif patch.material == "concrete":
        for spot in _spots(patch.outline, rng, count=int(rng.poisson(area(patch.outline) / 900))):
            angle = patch.direction + rng.choice((0.0, math.pi / 2))
            _draw_car(canvas, spot, angle=angle, day=day)


def _spots(outline: Points, rng: np.random.Generator, *, count: int) -> Points:
    """Draw places on an outline's ground, at a distance from its edge."""
    spots = rng.uniform(outline.min(axis=0), outline.max(axis=0), (count, 2))
    return spots[contains(outline, spots) & (distance_to_outline(outline, spots) > 4.0)]


def _draw_water(canvas: Canvas, body: Water, day: _Day) -> None:
    murk = min(1.0, max(0.0, body.murk + day.rng.normal(0, 0.35)))
    colour = seasons.water(murk)
    shore = Ground(colour * 0.6 + np.array([64, 60, 44]) * 0.6, 0.0, 9.0, 0.0, 0.05)
    canvas.spread(body.outline, shore)
    middle = body.outline.mean(axis=0)
    inner = middle + (body.outline - middle) * 0.92
    water = Ground(colour, 0.0, 9.0, 0.0, 0.02)
    canvas.spread(inner if len(body.outline) < 60 else body.outline, water)


def _draw_road(canvas: Canvas, road: Road) -> None:
    ground = seasons.MATERIALS[road.surface]
    canvas.spread(road.outline, ground)
    if road.surface == "track":
        canvas.paint(ribbon(road.line, road.width * 0.3), np.array([128, 126, 88]))
        return
    canvas.mark(ribbon(road.line, road.width - 1.0), (150, 150, 150), width=0.3)
    if road.width < 5.5:
        return
    steps = np.cumsum([0.0, *np.sqrt((np.diff(road.line, axis=0) ** 2).sum(axis=1))])
    starts = np.arange(0, steps[-1], 9.0)
    at = np.stack([starts, starts + 4.0], axis=1)
    dashes = np.stack([np.interp(at, steps, road.line[:, axis]) for axis in (0, 1)], axis=-1)
    for dash in dashes:
        canvas.mark(dash, (196, 196, 192), width=0.6)


def _draw_cars(canvas: Canvas, road: Road, day: _Day) -> None:
    rng = day.rng
    if road.surface == "track":
        return
    for _ in range(int(rng.poisson(2.0))):
        at = rng.uniform(0.02, 0.98) * (len(road.line) - 1)
        index = min(int(at), len(road.line) - 2)
        start, end = road.line[index], road.line[index + 1]
        along = (end - start) / max(math.dist(start, end), 1e-9)
        across = np.array([-along[1], along[0]]) * road.width * 0.25 * rng.choice((-1, 1))
        spot = start + (end - start) * (at - index) + across
        _draw_car(canvas, spot, angle=math.atan2(along[1], along[0]), day=day)


def _draw_car(canvas: Canvas, spot: Points, *, angle: float, day: _Day) -> None:
    season, rng = day
    length, width = (9.0, 3.0) if rng.random() < 0.15 else (5.4, 2.4)
    car = rectangle(spot, length=length, width=width, angle=angle)
    colour = np.array(_CARS[rng.integers(len(_CARS))], dtype=float)
    canvas.cast(car, season.shadow * 1.8)
    canvas.raise_up(car, colour)
    canvas.raise_up(
        rectangle(spot, length=length * 0.45, width=width * 0.8, angle=angle), colour * 0.7
    )


def _draw_trees(canvas: Canvas, scene: Landscape, season: Season) -> None:
    crowns = {kind: seasons.leaves(season, is_conifer=kind) for kind in (True, False)}
    light = -season.shadow / max(math.hypot(*season.shadow), 1e-9)
    shadow_x, shadow_y = (season.shadow * 1.1).tolist()
    light_x, light_y = light.tolist()
    for x, y, radius, is_conifer, shade in scene.trees:
        canvas.cast_disc(x + shadow_x * radius, y + shadow_y * radius, radius * 0.95)
        for part, shift, tone in ((1.0, 0.0, 0.8), (0.74, 0.2, 1.0), (0.42, 0.38, 1.2)):
            place = (x + light_x * radius * shift, y + light_y * radius * shift)
            colour = crowns[is_conifer] * (tone * (1 + 0.14 * shade))
            canvas.raise_disc(*place, radius * part, colour=colour)


def _draw_building(canvas: Canvas, building: Building, season: Season) -> None:
    outline = building.outline
    canvas.cast(outline, season.shadow * building.height)
    if building.roof == "flat":
        canvas.raise_up(outline, building.colour * 0.84)
        canvas.raise_up(inset(outline, 0.9), building.colour)
        _draw_skylights(canvas, building)
        return
    light = -season.shadow / max(math.hypot(*season.shadow), 1e-9)
    # Corners of a rectangle: 0-1 and 2-3 are its longer sides, the ridge runs between them.
    first, second = (outline[0] + outline[3]) / 2, (outline[1] + outline[2]) / 2
    across = outline[0] - outline[3]
    across = across / max(math.hypot(*across), 1e-9)
    canvas.raise_up(outline, building.colour)
    for half, side in (((0, 1), 1.0), ((3, 2), -1.0)):
        slope = np.array([outline[half[0]], outline[half[1]], second, first])
        canvas.raise_up(slope, building.colour * (1 + 0.24 * side * float(across @ light)))
    canvas.ridge(np.array([first, second]), building.colour * 1.18)


def _draw_skylights(canvas: Canvas, building: Building) -> None:
    corner, along, across = (
        building.outline[0],
        building.outline[1] - building.outline[0],
        building.outline[3] - building.outline[0],
    )
    for share in np.arange(0.12, 0.9, 0.19):
        band = np.array(
            [
                corner + along * (share + dx) + across * dy
                for dx, dy in ((0, 0.15), (0.035, 0.15), (0.035, 0.85), (0, 0.85))
            ]
        )
        canvas.raise_up(band, building.colour * 1.1)


def draw_label(scene: Landscape) -> npt.NDArray[np.uint8]:
    """Mark the pixels of which at least half are covered by a change, (H, W), 0 or 1."""
    factor = scene.px_per_m * _SUPERSAMPLING
    mask = Image.new("L", (scene.side_px * _SUPERSAMPLING,) * 2)
    draw = ImageDraw.Draw(mask)
    for outline in scene.changed_outlines():
        draw.polygon(scaled(outline, factor), fill=255)
    for road in scene.roads:
        # A new road joins an old one, which is drawn over it and has not changed.
        if road.surface == "asphalt" and road.presence == "both":
            draw.polygon(scaled(road.outline, factor), fill=0)
    share = np.asarray(mask.reduce(_SUPERSAMPLING))
    return (share >= 128).astype(np.uint8)
