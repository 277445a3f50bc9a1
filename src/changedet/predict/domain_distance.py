"""How far a pair is from what its model was trained on, by the looks of both; no network needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from changedet.data.appearance import DomainDistance, compare
from changedet.data.labelled import BothDates
from changedet.data.window_features import FloatArray, features_of, side_px
from changedet.predict.registration import PLACES_PER_TILE, spread_windows
from changedet.raster.remark import note, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from changedet.domain import Domain
    from changedet.raster.geo_grid import Window
    from changedet.raster.pair import PairPixels
    from changedet.raster.remark import Remark

# Windows of a scene that are looked at.
_SCENE_WINDOWS: Final = 16
# From this share of the pairs on, one in twenty being usual, it is spoken of.
_MANY: Final = 0.2


def distance_of_scene(
    read: Callable[[Window], PairPixels],
    target: Window,
    domain: Domain | None,
    *,
    zoom: float = 1.0,
) -> DomainDistance | None:
    """Look at windows that are spread evenly over a scene.

    Args:
        read: Gives the pixels of a window of the scene, as the model is given them.
        target: The part of the scene that is asked for.
        domain: What the model was trained on.
        zoom: What the model resamples the scene by.

    Returns:
        None if that is not known, or no window holds enough of an image.

    Raises:
        DataError: If a raster cannot be read.
    """
    if domain is None or domain.values is None or not domain.sets:
        return None
    found: list[FloatArray] = []
    places = PLACES_PER_TILE * _SCENE_WINDOWS
    for window in spread_windows(target.shape, tile_px=side_px(zoom), places=places):
        pixels = read(window.moved(target.top, target.left))
        features = features_of([BothDates(*pixels)], domain.values, zoom=zoom)
        if len(features):
            found.append(features)
        if len(found) == _SCENE_WINDOWS:
            break
    return compare(np.concatenate(found), domain.sets) if found else None


def remarks_on_distance(
    distance: DomainDistance | None, *, pairs: Sequence[DomainDistance | None] = ()
) -> Iterator[Remark]:
    """Say in one line whether a pair, or several, look like what the model was made on.

    Args:
        distance: Of the pair, or of all pairs together.
        pairs: Of each pair, if there are several.
    """
    if distance is None:
        return
    unusual = sum(one is not None and one.verdict != "within" for one in pairs)
    subject, verb = ("these pairs", "look") if len(pairs) > 1 else ("this pair", "looks")
    counted = f" ({unusual} of {len(pairs)} pairs are beyond that)" if len(pairs) > 1 else ""
    near = f"{distance.nearest}, at a distance of {distance.distance:.2f}"
    usual = f"95 % of that set's own images are within {distance.usual:.2f}"
    if distance.verdict == "within":
        if unusual > _MANY * len(pairs) > 0:
            yield warning(
                "model",
                f"{unusual} of {len(pairs)} pairs look unlike what the model was made on, the "
                f"others like {near}, where {usual}; compare the results with the images",
            )
        else:
            yield note(
                "model",
                f"{subject} {verb} like what the model was made on: most like {near}, where "
                f"{usual}{counted}",
            )
        return
    how = "very unlike" if distance.verdict == "far" else "unlike"
    advice = (
        "its scores and its threshold may mean little here; compare them with the images, or "
        "choose another model"
        if distance.verdict == "far"
        else "compare the result with the images"
    )
    yield warning(
        "model",
        f"{subject} {verb} {how} what the model was made on: nearest is {near}, where "
        f"{usual}{counted}; {advice}",
    )
