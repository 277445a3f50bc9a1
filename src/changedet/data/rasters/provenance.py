"""Which blocks of rasters a run trains and validates on: stored with it, compared with others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from changedet.data.mixture import MixturePair

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from changedet.data.labelled import LabelledPair
    from changedet.data.rasters.source import LabelledRaster, RasterBlock

#: What a run does with its blocks.
ROLES = ("training", "validation")

# Last part of a path or an address, without what signs the address.
_FILE_NAME = re.compile(r"([^/\\?#]+)/?(?:[?#].*)?$")
# The name of a CRS is the first text of its WKT.
_CRS_NAME = re.compile(r'"([^"]*)"')
# Edges of rasters are rounded, so blocks that only touch may seem to overlap by this, in pixels.
_ROUNDING_PX = 1e-3


class Seen(NamedTuple):
    """How many blocks a model has met before.

    Attributes:
        blocks: All that were compared.
        trained_on: Those that share pixels with training blocks.
        too_close: Others that lie closer to a training block than ``gap_px``.
        chosen_on: Those that share pixels with blocks that chose the model or its threshold.
        gap_px: Distance that the split of the run keeps, in pixels.
    """

    blocks: int
    trained_on: int
    too_close: int
    chosen_on: int
    gap_px: int

    @property
    def in_training(self) -> tuple[str, ...]:
        """What makes figures optimistic because of the training, in words."""
        found = []
        if self.trained_on:
            found.append(f"{self.trained_on} of {self.blocks} blocks were trained on")
        if self.too_close:
            found.append(
                f"{self.too_close} of {self.blocks} blocks lie closer than {self.gap_px} px to "
                "training blocks"
            )
        return tuple(found)


def record_blocks(
    training: Sequence[LabelledPair], validation: Sequence[LabelledPair], *, gap_px: int
) -> dict[str, Any]:
    """Write down the blocks of a run as plain JSON types.

    Returns:
        ``gap_px`` and ``scenes``: for each its ``name``, the file name of ``before``, the name of
        the CRS, the transform (a to f) of the grid that windows count on, and for each role its
        windows as [top, left, height, width].
    """
    # Scenes of several manifests may have one name.
    scenes: dict[LabelledRaster, dict[str, Any]] = {}
    for role, pairs in zip(ROLES, (training, validation), strict=True):
        for block in _blocks(pairs):
            scene = scenes.setdefault(block.scene, _describe(block))
            scene[role].append(list(block.window))
    return {"gap_px": gap_px, "scenes": list(scenes.values())}


def add_validation(stored: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Add the validation blocks of another record, so that one tells of all that chose.

    Args:
        stored: The record that stays as it is otherwise.
        other: The record whose validation blocks are added; its training blocks are not.
    """
    return add_blocks(stored, other, roles=("validation",))


def add_blocks(
    stored: Mapping[str, Any], other: Mapping[str, Any], *, roles: Sequence[str] = ROLES
) -> dict[str, Any]:
    """Add the blocks of another record that it holds for some roles.

    Args:
        stored: The record that stays as it is otherwise.
        other: The record whose blocks are added.
        roles: Of the blocks that are added.
    """
    identity = ("name", "before", "crs", "transform")
    scenes = [dict(scene) for scene in stored["scenes"]]
    for scene in other["scenes"]:
        known = next((own for own in scenes if all(own[k] == scene[k] for k in identity)), None)
        if known is None:
            scenes.append({**scene, **{role: [] for role in ROLES if role not in roles}})
            continue
        for role in roles:
            windows = [list(window) for window in known[role]]
            added = [window for window in scene[role] if list(window) not in windows]
            known[role] = [*windows, *added]
    # How far others must lie from training blocks, of which none are added otherwise.
    gap_px = max(stored["gap_px"], other["gap_px"]) if "training" in roles else stored["gap_px"]
    return {**stored, "gap_px": gap_px, "scenes": scenes}


def difference(
    stored: Mapping[str, Any], now: Mapping[str, Any], *, roles: Sequence[str] = ROLES
) -> str | None:
    """Say how two records differ, None if they hold the same blocks for these roles."""
    for role in roles:
        then, later = _flat(stored, role), _flat(now, role)
        if then != later:
            return (
                f"{len(then)} {role} blocks then, {len(later)} now, "
                f"{len(then & later)} of them the same"
            )
    return None


def count_blocks(stored: Mapping[str, Any], role: str) -> int:
    """Count the blocks that a record holds for a role."""
    return len(_flat(stored, role))


def count_seen(stored: Mapping[str, Any], pairs: Sequence[LabelledPair]) -> Seen:
    """Count which blocks a run has met, wherever their manifest lies and however it cuts.

    Blocks are compared by their place on the ground, where the earlier raster has the same file
    name and CRS; without georeference the name of the scene has to be the same, too.

    Args:
        stored: What :func:`record_blocks` gave for the run.
        pairs: What is evaluated.
    """
    gap_px: int = stored["gap_px"]
    training, validation = (_boxes(stored, role) for role in ROLES)
    nothing = np.empty((0, 4))
    trained_on = too_close = chosen_on = 0
    blocks = _blocks(pairs)
    for block in blocks:
        scene = _describe(block)
        key, box = _key(scene), _ground(scene["transform"], [block.window])[0]
        pixel = np.abs([scene["transform"][0], scene["transform"][4]])
        trained = training.get(key, nothing)
        if _meet(trained, box, -_ROUNDING_PX * pixel):
            trained_on += 1
        elif _meet(trained, box, (gap_px - _ROUNDING_PX) * pixel):
            too_close += 1
        chosen_on += _meet(validation.get(key, nothing), box, -_ROUNDING_PX * pixel)
    return Seen(len(blocks), trained_on, too_close, chosen_on, gap_px)


def _blocks(pairs: Iterable[LabelledPair]) -> list[RasterBlock]:
    # GDAL comes with it, which pairs of image files do without.
    from changedet.data.rasters.source import RasterBlock

    own = (pair.pair if isinstance(pair, MixturePair) else pair for pair in pairs)
    return [pair for pair in own if isinstance(pair, RasterBlock)]


def _describe(block: RasterBlock) -> dict[str, Any]:
    scene = block.scene
    file_name = _FILE_NAME.search(scene.entry.before)
    crs = None if scene.grid.crs is None else _CRS_NAME.search(scene.grid.crs)
    return {
        "name": scene.entry.name,
        "before": file_name[1] if file_name else "",
        "crs": crs[1] if crs else None,
        "transform": [float(value) for value in list(scene.grid.transform)[:6]],
        **{role: [] for role in ROLES},
    }


def _key(scene: Mapping[str, Any]) -> tuple[str | None, ...]:
    own = scene["name"] if scene["crs"] is None else None
    return scene["before"], scene["crs"], own


def _flat(stored: Mapping[str, Any], role: str) -> set[tuple[Any, ...]]:
    return {
        (scene["name"], scene["before"], *scene["transform"], *window)
        for scene in stored["scenes"]
        for window in scene[role]
    }


def _boxes(
    stored: Mapping[str, Any], role: str
) -> dict[tuple[str | None, ...], npt.NDArray[np.float64]]:
    """Give the places of a role's blocks by raster; several scenes may come from one."""
    found: dict[tuple[str | None, ...], list[npt.NDArray[np.float64]]] = {}
    for scene in stored["scenes"]:
        if scene[role]:
            boxes = _ground(scene["transform"], scene[role])
            found.setdefault(_key(scene), []).append(boxes)
    return {key: np.concatenate(parts) for key, parts in found.items()}


def _ground(
    transform: Sequence[float], windows: Sequence[Sequence[int]]
) -> npt.NDArray[np.float64]:
    """Give left, low, right and high edges of windows in CRS units, (n, 4)."""
    across, _, left, _, down, top = transform
    rows = np.asarray(windows, dtype=np.float64)
    xs = left + across * np.stack([rows[:, 1], rows[:, 1] + rows[:, 3]])
    ys = top + down * np.stack([rows[:, 0], rows[:, 0] + rows[:, 2]])
    return np.stack([xs.min(axis=0), ys.min(axis=0), xs.max(axis=0), ys.max(axis=0)], axis=1)


def _meet(
    boxes: npt.NDArray[np.float64],
    box: npt.NDArray[np.float64],
    margin: npt.NDArray[np.float64],
) -> bool:
    """Tell whether a box shares ground with any of those, each widened by a margin (x, y)."""
    inside = (boxes[:, :2] - margin < box[2:]) & (box[:2] < boxes[:, 2:] + margin)
    return bool(inside.all(axis=1).any())
