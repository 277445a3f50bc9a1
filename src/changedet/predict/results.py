"""How a prediction on a scene is described: ``summary.json`` and the STAC item."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from changedet._version import __version__
from changedet.data.file_names import MASK as MASK
from changedet.data.file_names import SCORE as SCORE
from changedet.inference.memory import peak_process_memory
from changedet.inference.provenance import graph_runtime
from changedet.predict.flow import TileCounts
from changedet.predict.job import SceneJob
from changedet.predict.request import SceneRequest
from changedet.predict.stac import crs_code, make_item
from changedet.predict.summary import (
    SUMMARY,
    GridFacts,
    Inputs,
    PixelCounts,
    PolygonFacts,
    RasterFacts,
    SceneSummary,
    Speed,
    Threshold,
    TileEffectFacts,
    TileFacts,
    scorer_facts,
)
from changedet.raster.cog import MaskCounts
from changedet.raster.info import RasterInfo
from changedet.raster.place import sidecar_of
from changedet.raster.remark import Remark
from changedet.storage.atomic import write_text
from changedet.storage.checksum import file_sha256
from changedet.storage.results import to_plain
from changedet.storage.secrets import without_secrets
from changedet.types import MAX_DISTANCE, TestTime
from changedet.vector.files import Format, PolygonSummary, file_name

ITEM: Final = "item.json"
PREVIEW: Final = "preview.png"
#: Everything that a prediction may write, and files that a GIS puts next to it.
PRODUCTS: Final = (
    *(SUMMARY, SCORE, MASK, ITEM, PREVIEW),
    *(file_name(kind) for kind in get_args(Format)),
    *("score.qml", "mask.qml", "polygons.qml"),
    *("score.tif.aux.xml", "mask.tif.aux.xml"),
)
# What is asked for and settled elsewhere.
_SETTLED: Final = ("threshold", "test_time", "kind", "runtime", "precision")


class Found(NamedTuple):
    """What is in the change map and in the polygon file, and how long scoring took."""

    counts: MaskCounts
    polygons: PolygonSummary
    tiles: TileCounts
    seconds: float


def request_settings(
    request: SceneRequest,
    *,
    model: Mapping[str, Any],
    threshold: float,
    test_time: TestTime,
    kind: str | None,
    runtime: str | None,
) -> dict[str, Any]:
    """Say what was asked for that decides the results, as plain JSON types.

    Args:
        request: As asked.
        model: As :func:`changedet.inference.provenance.model_metadata` tells it.
        threshold: The one that is used.
        test_time: The test-time augmentation that is used.
        kind: The kind of change that is looked for.
        runtime: What computes the network.
    """
    asked = dataclasses.asdict(request)
    for name in ("out", "model", "device", "batch_size", "existing", *_SETTLED):
        del asked[name]
    for name in ("before", "after", "region"):
        asked[name] = asked[name] and without_secrets(asked[name])
    used = {
        "model_sha256": model.get("sha256"),
        "baseline": model.get("baseline"),
        "threshold": threshold,
        "test_time": test_time,
        "kind": kind,
        **graph_runtime(runtime),
    }
    settings: dict[str, Any] = to_plain({**used, **asked})
    return settings


def summarise(
    job: SceneJob, *, source: str, found: Found, remarks: Sequence[Remark]
) -> SceneSummary:
    """Gather everything worth knowing of a prediction.

    Args:
        job: What was settled before.
        source: Who chose the threshold.
        found: What is in the products.
        remarks: What the user was told.
    """
    pixels = job.grid.height * job.grid.width
    pair, counts = job.pair, found.counts
    known = counts.changed + counts.unchanged
    # A resumed run must not claim the speed of what was done before.
    share = 1.0 - found.tiles.resumed / job.plan.count
    peak = peak_process_memory()
    return SceneSummary(
        version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=scorer_facts(job.model),
        threshold=Threshold(
            score=job.threshold, distance=job.threshold * MAX_DISTANCE, source=source
        ),
        inputs=Inputs(before=_raster_facts(pair.before), after=_raster_facts(pair.after)),
        request=request_settings(
            job.request,
            model=job.model,
            threshold=job.threshold,
            test_time=job.detector.test_time,
            kind=job.detector.kind,
            runtime=job.detector.runtime,
        ),
        grid=GridFacts(
            crs=job.grid.crs,
            crs_code=crs_code(job.grid.crs),
            transform=job.grid.transform[:6],
            height=job.grid.height,
            width=job.grid.width,
            gsd_m=pair.before.gsd_m,
        ),
        coverage=pair.coverage,
        area_of_interest_sha256=job.region_sha256,
        change_kind=job.detector.kind,
        runtime=job.detector.runtime,
        gsd=job.gsd,
        shift=job.shift,
        shift_corrected=job.shift_used is not None,
        shift_remaining=job.correction.remaining,
        stretch=pair.stretch_used,
        pixel_rules=pair.rules,
        tiles=TileFacts(
            **job.tiling._asdict(),
            count=job.plan.count,
            **found.tiles._asdict(),
            effect_of_size=job.tile_effect and TileEffectFacts(**job.tile_effect._asdict()),
        ),
        pixels=PixelCounts(**dataclasses.asdict(counts), all=pixels),
        nodata_share=counts.nodata / pixels,
        changed_share=counts.changed / known if known else None,
        polygons=PolygonFacts(
            file=file_name(job.request.polygons.format), **dataclasses.asdict(found.polygons)
        ),
        device=job.detector.device_name,
        speed=Speed(
            seconds=round(found.seconds, 3),
            mpx_per_s=share * pixels / 1e6 / max(found.seconds, 1e-9),
        ),
        peak_memory_mb=None if peak is None else peak / 1e6,
        notes=tuple(remark.sentence for remark in remarks),
        remarks=tuple(remarks),
        domain_distance=job.domain_distance,
    )


def _raster_facts(info: RasterInfo) -> RasterFacts:
    return RasterFacts(**{**vars(info), "location": info.name, "transform": info.transform[:6]})


def write_item(job: SceneJob, work: Path, summary: SceneSummary) -> None:
    """Write the STAC item of the products in ``work``.

    Raises:
        StorageError: If it cannot be written.
    """
    polygons = file_name(job.request.polygons.format)
    assets = {
        "score": work / SCORE,
        "mask": work / MASK,
        "polygons": work / polygons,
        "preview": work / PREVIEW,
    }
    for name in ("score", "mask"):
        if sidecar_of(assets[name]).exists():
            assets[f"{name}-place"] = sidecar_of(assets[name])
    item = make_item(
        identifier=job.request.out.absolute().name,
        grid=job.grid,
        assets=assets,
        checksums={name: file_sha256(path) for name, path in assets.items()},
        inputs=(job.pair.before, job.pair.after),
        created=datetime.fromisoformat(summary.created),
        properties={
            "changedet:model": summary.model.model_dump(),
            "changedet:threshold": summary.threshold.model_dump(),
            "changedet:version": __version__,
            "changedet:changed_share": summary.changed_share,
        },
    )
    write_text(work / ITEM, json.dumps(item, indent=2) + "\n")
