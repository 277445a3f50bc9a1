"""Draw a scene as seen from above on one date: ground, shadows, and what stands out of it."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from changedet.data.scenery import seasons
from changedet.data.scenery.elements import (
    Building,
    Date,
    Parcel,
    Patch,
    Presence,
    Road,
    Scene,
    Water,
)
from changedet.data.scenery.seasons import Ground, Season
from changedet.data.scenery.shapes import (
    Points,
    area,
    blob,
    contains,
    distance_to_outline,
    following,
    inset,
    rectangle,
    ribbon,
)

Plane = npt.NDArray[np.float32]

#: Shapes are drawn this many times larger and averaged, so that edges are smooth.
SUPERSAMPLING = 3
_LABEL_SUPERSAMPLING = 4
_SHADE = np.array([0.50, 0.54, 0.62], dtype=np.float32)
_CARS = ((206, 206, 204), (60, 62, 66), (148, 36, 34), (46, 66, 110), (150, 152, 156))


class Relief(NamedTuple):
    """Unevenness of the ground that stays over the years, (H, W), about 0 with deviation 1."""

    coarse: Plane
    medium: Plane


class _Day(NamedTuple):
    """One date's season and sun, and the source of what is there for that day only."""

    season: Season
    rng: np.random.Generator


class _Canvas:
    """The layers of one drawing, supersampled."""

    def __init__(self, side: float) -> None:
        self.side_px = math.ceil(side)
        size = (self.side_px * SUPERSAMPLING,) * 2
        self.ground = Image.new("RGB", size)
        self.shadow = Image.new("L", size)
        self.objects = Image.new("RGB", size)
        self.cover = Image.new("L", size)
        self.surface = Image.new("I", (self.side_px,) * 2)
        self.on_ground = ImageDraw.Draw(self.ground)
        self.on_shadow = ImageDraw.Draw(self.shadow)
        self.on_objects = ImageDraw.Draw(self.objects)
        self.on_cover = ImageDraw.Draw(self.cover)
        self.on_surface = ImageDraw.Draw(self.surface)
        self.grounds: list[tuple[Ground, float]] = [(seasons.MATERIALS["asphalt"], 0.0)]

    def spread(self, outline: Points, ground: Ground, *, direction: float = 0.0) -> None:
        """Cover an area of the ground."""
        self.on_ground.polygon(scaled(outline, SUPERSAMPLING), fill=rgb(ground.colour))
        self.on_surface.polygon(scaled(outline, 1), fill=len(self.grounds))
        self.grounds.append((ground, direction))

    def raise_up(self, outline: Points, colour: Points) -> None:
        """Draw something above the shadows."""
        points = scaled(outline, SUPERSAMPLING)
        self.on_objects.polygon(points, fill=rgb(colour))
        self.on_cover.polygon(points, fill=255)

    def cast(self, outline: Points, offset: Points) -> None:
        """Draw the shadow of a block that stands on an outline."""
        ends = following(outline)
        self.on_shadow.polygon(scaled(outline + offset, SUPERSAMPLING), fill=255)
        for start, end in zip(outline, ends, strict=True):
            side = np.array([start, end, end + offset, start + offset])
            self.on_shadow.polygon(scaled(side, SUPERSAMPLING), fill=255)


def scaled(points: Points, factor: int) -> list[float]:
    """Flatten points for PIL, whose coordinates name pixel centres."""
    flat: list[float] = (points * factor - 0.5).ravel().tolist()
    return flat


def rgb(colour: Points) -> tuple[int, int, int]:
    """Round a colour to what an image can hold."""
    red, green, blue = colour.tolist()
    return _level(red), _level(green), _level(blue)


def _level(value: float) -> int:
    return min(255, max(0, round(value)))


def draw_label(scene: Scene) -> npt.NDArray[np.uint8]:
    """Mark the pixels of which at least half are covered by a change, (H, W), 0 or 1."""
    factor = _LABEL_SUPERSAMPLING
    mask = Image.new("L", (math.ceil(scene.side) * factor,) * 2)
    draw = ImageDraw.Draw(mask)
    for outline in scene.changed_outlines():
        draw.polygon(scaled(outline, factor), fill=255)
    for road in scene.roads:
        # A new road joins an old one, which is drawn over it and has not changed.
        if road.surface == "asphalt" and road.presence == "both":
            draw.polygon(scaled(road.outline, factor), fill=0)
    share = np.asarray(mask.reduce(factor))
    return (share >= 128).astype(np.uint8)


def noise(rng: np.random.Generator, side_px: int, *, cell_px: float) -> Plane:
    """Draw smooth noise about 0 with a deviation of about 1, (H, W)."""
    cells = max(2, math.ceil(side_px / cell_px) + 2)
    grid = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    enlarged = grid.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return np.asarray(enlarged) * np.float32(1.3)


def draw_relief(rng: np.random.Generator, side_px: int) -> Relief:
    """Draw the unevenness of the ground, (H, W)."""
    return Relief(coarse=noise(rng, side_px, cell_px=38.0), medium=noise(rng, side_px, cell_px=8.0))


def draw_scene(
    scene: Scene, date: Date, season: Season, *, relief: Relief, rng: np.random.Generator
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
    canvas, day = _Canvas(scene.side), _Day(season, rng)
    _draw_land(canvas, scene, day)
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
    return _compose(canvas, relief, rng)


def _draw_land(canvas: _Canvas, scene: Scene, day: _Day) -> None:
    for parcel in scene.parcels:
        canvas.spread(parcel.outline, _land(parcel, day), direction=parcel.direction)


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


def _draw_patch(canvas: _Canvas, patch: Patch, day: _Day) -> None:
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
            canvas.on_ground.polygon(scaled(heap, SUPERSAMPLING), fill=rgb(colour))
    elif patch.material == "concrete":
        for spot in _spots(patch.outline, rng, count=int(rng.poisson(area(patch.outline) / 900))):
            angle = patch.direction + rng.choice((0.0, math.pi / 2))
            _draw_car(canvas, spot, angle=angle, day=day)


def _spots(outline: Points, rng: np.random.Generator, *, count: int) -> Points:
    """Draw places on an outline's ground, at a distance from its edge."""
    spots = rng.uniform(outline.min(axis=0), outline.max(axis=0), (count, 2))
    return spots[contains(outline, spots) & (distance_to_outline(outline, spots) > 4.0)]


def _draw_water(canvas: _Canvas, body: Water, day: _Day) -> None:
    murk = min(1.0, max(0.0, body.murk + day.rng.normal(0, 0.35)))
    colour = seasons.water(murk)
    shore = Ground(colour * 0.6 + np.array([64, 60, 44]) * 0.6, 0.0, 9.0, 0.0, 0.05)
    canvas.spread(body.outline, shore)
    middle = body.outline.mean(axis=0)
    inner = middle + (body.outline - middle) * 0.92
    water = Ground(colour, 0.0, 9.0, 0.0, 0.02)
    canvas.spread(inner if len(body.outline) < 60 else body.outline, water)


def _draw_road(canvas: _Canvas, road: Road) -> None:
    ground = seasons.MATERIALS[road.surface]
    canvas.spread(road.outline, ground)
    scale = SUPERSAMPLING
    if road.surface == "track":
        middle = ribbon(road.line, road.width * 0.3)
        canvas.on_ground.polygon(scaled(middle, scale), fill=rgb(np.array([128, 126, 88])))
        return
    white = (196, 196, 192)
    outer = ribbon(road.line, road.width - 1.0)
    canvas.on_ground.line(scaled(outer, scale), fill=(150, 150, 150), width=1)
    if road.width < 5.5:
        return
    steps = np.cumsum([0.0, *np.sqrt((np.diff(road.line, axis=0) ** 2).sum(axis=1))])
    starts = np.arange(0, steps[-1], 9.0)
    at = np.stack([starts, starts + 4.0], axis=1)
    dashes = np.stack([np.interp(at, steps, road.line[:, axis]) for axis in (0, 1)], axis=-1)
    for dash in dashes:
        canvas.on_ground.line(scaled(dash, scale), fill=white, width=2)


def _draw_cars(canvas: _Canvas, road: Road, day: _Day) -> None:
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


def _draw_car(canvas: _Canvas, spot: Points, *, angle: float, day: _Day) -> None:
    season, rng = day
    length, width = (9.0, 3.0) if rng.random() < 0.15 else (5.4, 2.4)
    car = rectangle(spot, length=length, width=width, angle=angle)
    colour = np.array(_CARS[rng.integers(len(_CARS))], dtype=float)
    canvas.cast(car, season.shadow * 1.8)
    canvas.raise_up(car, colour)
    canvas.raise_up(
        rectangle(spot, length=length * 0.45, width=width * 0.8, angle=angle), colour * 0.7
    )


def _draw_trees(canvas: _Canvas, scene: Scene, season: Season) -> None:
    crowns = {kind: seasons.leaves(season, is_conifer=kind) for kind in (True, False)}
    light = -season.shadow / max(math.hypot(*season.shadow), 1e-9)
    shadow_x, shadow_y = (season.shadow * 1.1).tolist()
    light_x, light_y = light.tolist()
    for x, y, radius, is_conifer, shade in scene.trees:
        place = (x + shadow_x * radius, y + shadow_y * radius)
        canvas.on_shadow.ellipse(_circle(*place, radius * 0.95), fill=225)
        for part, shift, tone in ((1.0, 0.0, 0.8), (0.74, 0.2, 1.0), (0.42, 0.38, 1.2)):
            place = (x + light_x * radius * shift, y + light_y * radius * shift)
            colour = crowns[is_conifer] * (tone * (1 + 0.14 * shade))
            canvas.on_objects.ellipse(_circle(*place, radius * part), fill=rgb(colour))
        canvas.on_cover.ellipse(_circle(x, y, radius), fill=255)


def _circle(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    scale = SUPERSAMPLING
    return (
        (x - radius) * scale - 0.5,
        (y - radius) * scale - 0.5,
        (x + radius) * scale - 0.5,
        (y + radius) * scale - 0.5,
    )


def _draw_building(canvas: _Canvas, building: Building, season: Season) -> None:
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
    ridge = scaled(np.array([first, second]), SUPERSAMPLING)
    canvas.on_objects.line(ridge, fill=rgb(building.colour * 1.18), width=1)


def _draw_skylights(canvas: _Canvas, building: Building) -> None:
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


def _compose(canvas: _Canvas, relief: Relief, rng: np.random.Generator) -> Plane:
    factor = SUPERSAMPLING
    ground = np.asarray(canvas.ground.reduce(factor), dtype=np.float32)
    shadow = np.asarray(canvas.shadow.reduce(factor), dtype=np.float32)[..., None] / 255
    objects = np.asarray(canvas.objects.reduce(factor), dtype=np.float32)
    cover = np.asarray(canvas.cover.reduce(factor), dtype=np.float32)[..., None] / 255
    grain = noise(rng, canvas.side_px, cell_px=1.6)[..., None]
    textured = ground * _texture(canvas, relief, rng)[..., None] * (1 + 0.025 * grain)
    shaded = textured * (1 - shadow * (1 - _SHADE))
    seen = shaded * (1 - cover) + objects * (1 + 0.035 * grain)
    return seen.astype(np.float32, copy=False)


def _texture(canvas: _Canvas, relief: Relief, rng: np.random.Generator) -> Plane:
    """Brightness of the ground, (H, W), about 1: rows, wheel tracks and mottling."""
    index = np.asarray(canvas.surface)
    table = np.array(
        [
            (g.rows, g.period, g.tracks, g.mottle, math.cos(turn), math.sin(turn))
            for g, turn in canvas.grounds
        ],
        dtype=np.float32,
    )
    rows, period, tracks, mottle, cosine, sine = table[index].transpose(2, 0, 1)
    y, x = np.mgrid[0 : canvas.side_px, 0 : canvas.side_px].astype(np.float32)
    across = y * cosine - x * sine + 0.6 * relief.coarse
    stripes = np.sin(across * (np.float32(2 * np.pi) / period)) * (0.8 + 0.3 * relief.medium)
    lane = across % 19.0
    wheels = ((lane < 1.3) | ((lane > 4.0) & (lane < 5.3))).astype(np.float32)
    today = noise(rng, canvas.side_px, cell_px=5.0)
    unevenness = 0.5 * relief.coarse + 0.5 * relief.medium + 0.35 * today
    texture: Plane = 1 + rows * stripes - tracks * wheels + mottle * unevenness
    return texture
