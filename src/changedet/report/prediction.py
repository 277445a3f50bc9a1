"""Sections about predictions, which have no labels: what was found, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from changedet.data.images import open_pixels, read_image
from changedet.errors import DataError, ImageError
from changedet.predict.summary import (
    BaselineFacts,
    ImagePairSummary,
    ImagesSummary,
    ModelFacts,
    SceneSummary,
)
from changedet.raster.remark import Remark
from changedet.rendering.display import as_rgb
from changedet.rendering.interactive import Example, Gallery
from changedet.rendering.page import (
    Block,
    Cell,
    Headline,
    Headlines,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
)
from changedet.rendering.pictures import shrunk, write_jpeg, write_png
from changedet.report.facts import facts_table

_PAIR_PICTURES = {
    "overlay.png": "what has changed, on the later image",
    "heatmap.png": "change score",
    "mask.png": "changed pixels",
}
_SCENE_PICTURES = {"preview.png": "before, after, and what has changed"}
_PAIRS = 50
# Longer side of images that lie over each other.
_SWIPE_PX = 1024
# score.png holds scores as 16 bits.
_SIXTEEN_BITS = 65535


def pair_sections(
    folder: Path,
    results: ImagePairSummary,
    *,
    title: str,
    work: Path,
    wording: Callable[[str], str],
) -> list[Section]:
    """Describe a prediction on two images.

    Args:
        folder: Where it lies.
        results: What was found.
        title: Heading of the first section; empty: none.
        wording: Turns what the user was told into words for readers of the page.
        work: Folder for pictures that are made for the page; it may be removed afterwards.
    """
    return [
        Section(
            title or "What was found",
            [
                Headlines(
                    [
                        Headline(_percent(results.changed_share), "changed", emphasis="main"),
                        Headline(results.threshold.score, "threshold"),
                    ]
                ),
                *_remarks(results.remarks, wording),
                *_swipe(folder, results, work=work),
                *_pictures(folder, _PAIR_PICTURES),
                facts_table(
                    {
                        "before": results.before,
                        "after": results.after,
                        "pixels": f"{results.width} x {results.height}",
                        **_common(results),
                    }
                ),
            ],
        )
    ]


def images_sections(
    folder: Path, results: ImagesSummary, *, title: str, wording: Callable[[str], str]
) -> list[Section]:
    """Describe a prediction on two folders of images."""
    ranked = sorted(results.pairs, key=lambda pair: (-pair.changed_share, pair.name))
    rows: list[list[Cell]] = [
        [pair.name, _percent(pair.changed_share), f"{pair.width}x{pair.height}"]
        for pair in ranked[:_PAIRS]
    ]
    pictures = [
        Picture(folder / pair.name / "overlay.png", f"{pair.name}: {_percent(pair.changed_share)}")
        for pair in ranked[:12]
        if (folder / pair.name / "overlay.png").is_file()
    ]
    mean = sum(pair.changed_share for pair in ranked) / max(1, len(ranked))
    return [
        Section(
            title or "What was found",
            [
                Headlines(
                    [
                        Headline(results.images, "pairs of images", emphasis="main"),
                        Headline(_percent(mean), "changed, on average"),
                    ]
                ),
                *_remarks(results.remarks, wording),
                *([Pictures(pictures, caption="Most changed", layout="grid")] if pictures else []),
                Table(f"The {len(rows)} most changed", ["pair", "changed", "pixels"], rows),
                facts_table(_common(results)),
            ],
        )
    ]


def scene_sections(
    folder: Path, results: SceneSummary, *, title: str, wording: Callable[[str], str]
) -> list[Section]:
    """Describe a prediction on a scene."""
    polygons = results.polygons
    area = None if polygons.area_m2 is None else f"{polygons.area_m2 / 1e6:,.3f} km²"
    share = "-" if results.changed_share is None else _percent(results.changed_share)
    grid = results.grid
    return [
        Section(
            title or "What was found",
            [
                Headlines(
                    [
                        Headline(share, "of the area changed", emphasis="main"),
                        Headline(polygons.count, "polygons", area or ""),
                        Headline(_percent(results.nodata_share), "without data"),
                    ]
                ),
                *_remarks(results.remarks, wording),
                *_pictures(folder, _SCENE_PICTURES, layout="sheet"),
                facts_table(
                    {
                        "before": results.inputs.before.location,
                        "after": results.inputs.after.location,
                        "pixels": f"{grid.width} x {grid.height}",
                        "CRS": grid.crs_code,
                        "ground sample distance": None
                        if grid.gsd_m is None
                        else f"{grid.gsd_m:.3g} m",
                        "polygons": polygons.file,
                        "created": results.created,
                        **_common(results),
                    }
                ),
            ],
        )
    ]


def _swipe(folder: Path, results: ImagePairSummary, *, work: Path) -> list[Block]:
    """Show both dates, one over the other, as far as the images are still where they were."""
    try:
        before, after = (as_rgb(read_image(Path(path))) for path in (results.before, results.after))
        with open_pixels(folder / "score.png") as stored:
            score = np.asarray(stored)
    except (ImageError, DataError):
        return [
            Note(
                f"{results.before} and {results.after} cannot be read any more, so the page shows "
                "what the prediction drew only."
            )
        ]
    size = (results.height, results.width)
    if not before.shape[:2] == after.shape[:2] == score.shape == size:
        return []
    grey = np.rint(score / _SIXTEEN_BITS * 255).astype(np.uint8)
    paths = [work / f"{folder.name}_{name}" for name in ("before.jpg", "after.jpg", "score.png")]
    for path, image in zip(paths[:2], (before, after), strict=True):
        write_jpeg(path, shrunk(image, _SWIPE_PX))
    write_png(paths[2], shrunk(grey, _SWIPE_PX))
    example = Example(f"{results.name}: before and after", paths[0], paths[1], score=paths[2])
    return [Gallery([example], threshold=results.threshold.score)]


def _common(results: ImagePairSummary | ImagesSummary | SceneSummary) -> dict[str, Cell]:
    return {
        "model": _model(results.model),
        "kind of change": results.change_kind,
        "threshold": f"{results.threshold.score:.4f} ({results.threshold.source})",
        "computed on": " ".join(filter(None, (results.runtime, results.device))),
        "changedet": results.version,
    }


def _model(model: ModelFacts | BaselineFacts) -> str:
    if isinstance(model, BaselineFacts):
        return f"untrained baseline {model.baseline}"
    if model.file is None or model.sha256 is None:
        return model.architecture
    return f"{model.file}, SHA-256 {model.sha256[:12]}"


def _remarks(remarks: Sequence[Remark], wording: Callable[[str], str]) -> list[Block]:
    return [
        Note(wording(remark.text), kind="warning" if remark.severity == "warning" else "text")
        for remark in remarks
    ]


def _pictures(
    folder: Path, captions: dict[str, str], *, layout: Literal["grid", "sheet"] = "grid"
) -> list[Block]:
    found = [
        Picture(folder / name, caption)
        for name, caption in captions.items()
        if (folder / name).is_file()
    ]
    return [Pictures(found, layout=layout)] if found else []


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
