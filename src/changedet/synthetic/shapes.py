"""Plane geometry of the synthetic scenes: polygons as (N, 2) arrays of x and y in metres."""

import math

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def following(points: Points) -> Points:
    """The next point of each point of a closed outline."""
    return np.concatenate((points[1:], points[:1]))


def rectangle(centre: Points, *, length: float, width: float, angle: float) -> Points:
    """Place a rectangle whose length runs along ``angle``, in radians."""
    along = np.array([math.cos(angle), math.sin(angle)]) * length / 2
    across = np.array([-math.sin(angle), math.cos(angle)]) * width / 2
    corners: Points = np.array([-along - across, along - across, along + across, across - along])
    return centre + corners


def cut(polygon: Points, *, point: Points, normal: Points) -> Points:
    """Keep the part of a convex polygon that lies on the side ``normal`` points to."""
    side = (polygon - point) @ normal
    kept: list[Points] = []
    for here, there, a, b in zip(
        polygon, following(polygon), side.tolist(), following(side).tolist(), strict=True
    ):
        if a >= 0:
            kept.append(here)
        if (a >= 0) != (b >= 0):
            kept.append(here + (there - here) * (a / (a - b)))
    return np.array(kept).reshape(-1, 2)


def inset(polygon: Points, distance: float) -> Points:
    """Shrink a convex polygon by ``distance`` on every side; empty if nothing is left."""
    middle = polygon.mean(axis=0)
    shrunk = polygon
    for here, there in zip(polygon, following(polygon), strict=True):
        edge = there - here
        length = math.hypot(*edge)
        if length < 1e-6 or len(shrunk) < 3:
            continue
        normal = np.array([-edge[1], edge[0]]) / length
        if (middle - here) @ normal < 0:
            normal = -normal
        shrunk = cut(shrunk, point=here + normal * distance, normal=normal)
    return shrunk if len(shrunk) >= 3 else np.empty((0, 2))


def area(polygon: Points) -> float:
    """Area in square metres."""
    if len(polygon) < 3:
        return 0.0
    (x, y), (next_x, next_y) = polygon.T, following(polygon).T
    return abs(float(x @ next_y - y @ next_x)) / 2


def contains(polygon: Points, points: Points) -> npt.NDArray[np.bool_]:
    """Which of the points, (N, 2), lie inside any polygon, by counting crossed sides."""
    x, y = points[:, :1], points[:, 1:]
    start, end = polygon, following(polygon)
    is_spanned = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    crossing = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / rise
    inside: npt.NDArray[np.bool_] = (is_spanned & (x < crossing)).sum(axis=1) % 2 == 1
    return inside


def distance_to_outline(polygon: Points, points: Points) -> npt.NDArray[np.float64]:
    """How far each of the points, (N, 2), lies from a polygon's sides, from within or without."""
    edges = following(polygon) - polygon
    offsets = points[:, np.newaxis, :] - polygon[np.newaxis]
    length = np.maximum((edges**2).sum(axis=1), 1e-9)
    along = np.clip((offsets * edges).sum(axis=2) / length, 0.0, 1.0)
    nearest = offsets - along[..., np.newaxis] * edges
    distance: npt.NDArray[np.float64] = np.sqrt((nearest**2).sum(axis=2)).min(axis=1)
    return distance


def gap(polygon: Points, points: Points) -> npt.NDArray[np.float64]:
    """How far each of the points, (N, 2), lies from a polygon; 0 inside of it."""
    return np.where(contains(polygon, points), 0.0, distance_to_outline(polygon, points))


def longest_edge_angle(polygon: Points) -> float:
    """Direction of the longest side, in radians."""
    edges = following(polygon) - polygon
    x, y = edges[int((edges**2).sum(axis=1).argmax())]
    return math.atan2(y, x)


def resample(points: Points, *, step: float, is_closed: bool) -> Points:
    """Add points along the sides, so that a bent outline looks smooth."""
    ends = following(points) if is_closed else points[1:]
    starts = points if is_closed else points[:-1]
    pieces = [
        start
        + (end - start)
        * np.linspace(0, 1, max(2, math.ceil(math.dist(start, end) / step)))[:-1, np.newaxis]
        for start, end in zip(starts, ends, strict=True)
    ]
    if not is_closed:
        pieces.append(points[-1:])
    return np.concatenate(pieces)


def ribbon(line: Points, width: float) -> Points:
    """Outline of a band of ``width`` along a line of at least two points."""
    direction = np.gradient(line, axis=0)
    direction /= np.maximum(np.sqrt((direction**2).sum(axis=1, keepdims=True)), 1e-9)
    across = np.stack([-direction[:, 1], direction[:, 0]], axis=1) * width / 2
    return np.concatenate([line + across, (line - across)[::-1]])


def blob(rng: np.random.Generator, centre: Points, *, radius: float) -> Points:
    """Draw a rounded irregular outline, such as a pond's."""
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    radii = np.full(48, radius)
    for wave, strength in ((2, 0.22), (3, 0.12), (5, 0.05)):
        radii += radius * strength * rng.random() * np.cos(wave * angles + rng.uniform(0, 6.3))
    outline: Points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, np.newaxis]
    return centre + outline
