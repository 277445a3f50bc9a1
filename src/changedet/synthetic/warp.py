"""Bend a planned scene gently, so that nothing in it is ruled with a straight edge."""

from dataclasses import replace

import numpy as np

from changedet.synthetic.elements import Landscape
from changedet.synthetic.shapes import Points, resample

_STEP = 6.0


def bend_scene(scene: Landscape, rng: np.random.Generator) -> Landscape:
    """Bend outlines and lines; buildings and trees move along and keep their form."""
    waves = [
        (rng.normal(0, 1, 2), rng.uniform(0, 6.3, 2), rng.uniform(1.0, 2.8) / scale, scale)
        for scale in (1.0, 1.9)
    ]

    def displacement(points: Points) -> Points:
        moved = np.zeros_like(points)
        for direction, phase, strength, scale in waves:
            angle = points @ (direction / np.hypot(*direction)) * (scale / 34.0)
            moved = moved + strength * np.stack(
                [np.sin(angle + phase[0]), np.cos(angle + phase[1])], axis=1
            )
        return moved

    def bend(points: Points, *, is_closed: bool = True) -> Points:
        fine = resample(points, step=_STEP, is_closed=is_closed)
        return fine + displacement(fine)

    def carry(outline: Points) -> Points:
        return outline + displacement(outline.mean(axis=0, keepdims=True))

    crowns = np.array([(tree.x, tree.y) for tree in scene.trees]).reshape(-1, 2)
    crowns = crowns + displacement(crowns)
    return replace(
        scene,
        parcels=tuple(replace(each, outline=bend(each.outline)) for each in scene.parcels),
        patches=tuple(replace(each, outline=bend(each.outline)) for each in scene.patches),
        waters=tuple(replace(each, outline=carry(each.outline)) for each in scene.waters),
        roads=tuple(replace(each, line=bend(each.line, is_closed=False)) for each in scene.roads),
        buildings=tuple(replace(each, outline=carry(each.outline)) for each in scene.buildings),
        trees=tuple(
            tree._replace(x=float(x), y=float(y))
            for tree, (x, y) in zip(scene.trees, crowns, strict=True)
        ),
    )
