"""What a prediction on a scene says of itself: ``summary.json`` and the STAC item."""

import dataclasses
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from changedet._atomic import write_text
from changedet._version import __version__
from changedet.metrics.json_values import to_json_value
from changedet.raster.cog import MaskCounts
from changedet.raster.facts import RasterFacts
from changedet.scene.job import SceneJob
from changedet.scene.stac import make_item, without_secrets
from changedet.types import MAX_DISTANCE
from changedet.vector.files import PolygonSummary, file_name

#: The file that tells a finished prediction.
SUMMARY: Final = "summary.json"
SCORE: Final = "score.tif"
MASK: Final = "mask.tif"
ITEM: Final = "item.json"


class Found(NamedTuple):
    """What is in the change map and in the polygon file."""

    counts: MaskCounts
    polygons: PolygonSummary


def summarise(
    job: SceneJob, *, source: str, found: Found, seconds: float, share: float, notes: list[str]
) -> dict[str, Any]:
    """Gather everything worth knowing of a prediction, as plain JSON types.

    Args:
        job: What was settled before.
        source: Who chose the threshold.
        found: What is in the products.
        seconds: Time that scoring took.
        share: Share of the tiles that were scored in that time, in [0, 1].
        notes: What the user was told.
    """
    pixels = job.grid.height * job.grid.width
    pair, counts = job.pair, found.counts
    known = counts.changed + counts.unchanged
    content: dict[str, Any] = {
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": job.model,
        "threshold": {
            "score": job.threshold,
            "distance": job.threshold * MAX_DISTANCE,
            "source": source,
        },
        "inputs": {"before": _raster_facts(pair.before), "after": _raster_facts(pair.after)},
        "grid": {
            "crs": job.grid.crs,
            "transform": list(job.grid.transform)[:6],
            "height": job.grid.height,
            "width": job.grid.width,
            "gsd_m": pair.before.gsd_m,
        },
        "coverage": dataclasses.asdict(pair.coverage),
        "area_of_interest": job.request.region,
        "shift": None if job.shift is None else dataclasses.asdict(job.shift),
        "shift_corrected": job.shift_used is not None,
        "stretch": pair.stretch_used,
        "tiles": {
            **job.tiling._asdict(),
            "count": job.plan.count,
            "effect_of_size": None if job.tile_effect is None else job.tile_effect._asdict(),
        },
        "pixels": {**dataclasses.asdict(counts), "all": pixels},
        "changed_share": counts.changed / known if known else None,
        "polygons": {
            "file": file_name(job.request.polygons.format),
            **dataclasses.asdict(found.polygons),
            **{f"option_{k}": v for k, v in dataclasses.asdict(job.request.polygons).items()},
        },
        "device": str(job.detector.device),
        "speed": {
            "seconds": round(seconds, 3),
            "share_scored_in_this_run": share,
            "mpx_per_s": share * pixels / 1e6 / max(seconds, 1e-9),
        },
        "peak_memory_mb": peak_memory_mb(),
        "notes": notes,
    }
    # Nodata values are often NaN, which JSON does not know.
    return {name: to_json_value(value) for name, value in content.items()}


def _raster_facts(facts: RasterFacts) -> dict[str, Any]:
    return {
        **dataclasses.asdict(facts),
        "location": without_secrets(facts.location),
        "transform": list(facts.transform)[:6],
    }


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in 10^6 bytes; None where unknown."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def write_item(job: SceneJob, work: Path, content: dict[str, Any]) -> None:
    """Write the STAC item of the products in ``work``.

    Raises:
        StorageError: If it cannot be written.
    """
    polygons = file_name(job.request.polygons.format)
    item = make_item(
        identifier=job.request.out.absolute().name,
        grid=job.grid,
        assets={"score": work / SCORE, "mask": work / MASK, "polygons": work / polygons},
        inputs=(job.pair.before, job.pair.after),
        created=datetime.fromisoformat(content["created"]),
        properties={
            "changedet:model": job.model,
            "changedet:threshold": content["threshold"],
            "changedet:version": __version__,
            "changedet:changed_share": content["changed_share"],
        },
    )
    write_text(work / ITEM, json.dumps(item, indent=2) + "\n")
