"""Everything that is settled, checked and measured before the first tile is scored."""

import uuid
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import shapely

from changedet._version import __version__
from changedet.card import ModelCard
from changedet.data.appearance import DomainDistance
from changedet.errors import DataError
from changedet.inference.detector import Detector
from changedet.inference.provenance import graph_runtime, kind_note
from changedet.inference.scorer import FittedScorer, KnownByWeights, SceneFitted, Scorer
from changedet.inference.working_gsd import GsdMatch, match_gsd, remarks_on_gsd
from changedet.predict.domain_distance import distance_of_scene, remarks_on_distance
from changedet.predict.flow import READERS
from changedet.predict.inputs import refuse_turned
from changedet.predict.measures import SceneMeasures, measure_alignment
from changedet.predict.registration import Correction
from changedet.predict.remarks import (
    Remarks,
    remark_on_area,
    remark_on_geojson,
    remark_on_identical_dates,
    remark_on_missing_bands,
    remark_on_tiles,
    remarks_on_alignment,
    remarks_on_correction,
    remarks_on_domain,
    remarks_on_reading,
    remarks_on_results,
    remarks_on_shift,
)
from changedet.predict.request import SceneRequest
from changedet.predict.tiling import TileEffect, Tiling, measure_tile_effect
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.info import RasterInfo
from changedet.raster.open import is_remote, open_raster
from changedet.raster.pair import PairOptions, PairPixels, RasterPair
from changedet.raster.place import try_place
from changedet.raster.region_mask import RegionMask
from changedet.raster.shift_estimate import ShiftEstimate
from changedet.raster.tile_plan import Mask, TilePlan
from changedet.raster.value_types import ANY_TYPE
from changedet.storage.secrets import without_secrets
from changedet.vector.files import check_polygon_options
from changedet.vector.place import check_polygon_place, has_degrees
from changedet.vector.regions import read_region, region_sha256

#: From this share on an area counts as whole: edges of files are rounded.
_WHOLE = 0.999
#: Windows in which a scene is measured.
_WINDOW_PX = 512


class SceneJob(NamedTuple):
    """Everything that is settled before the first tile is scored."""

    request: SceneRequest
    detector: Detector
    scorer: Scorer
    gsd: GsdMatch
    model: dict[str, Any]
    pair: RasterPair
    grid: GeoGrid
    region: RegionMask | None
    region_sha256: str | None
    plan: TilePlan
    tiling: Tiling
    threshold: float
    measures: SceneMeasures

    @property
    def shift(self) -> ShiftEstimate | None:
        """Shift that was measured between the dates."""
        return self.measures.alignment.shift

    @property
    def correction(self) -> Correction:
        """What of it is corrected."""
        return self.measures.alignment.correction

    @property
    def tile_effect(self) -> TileEffect | None:
        """What tiles of another size than the training's change."""
        return self.measures.tile_effect

    @property
    def domain_distance(self) -> DomainDistance | None:
        """How far the pair is from what the model was trained on."""
        return self.measures.domain_distance

    @property
    def shift_used(self) -> tuple[float, float] | None:
        """Shift of after in pixels (down, right) that is corrected, if any."""
        return self.correction.shift_px

    @property
    def readers(self) -> int:
        """Threads that read: a network on the CPU takes far longer than one of them."""
        locations = (self.request.before, self.request.after)
        is_slow = self.detector.device_name == "cpu" and not isinstance(
            self.detector.scorer, SceneFitted
        )
        return 1 if is_slow and not any(map(is_remote, locations)) else READERS

    def inside(self, window: Window) -> Mask:
        """Say which pixels of a window of the common area are asked for."""
        if self.region is None:
            return np.ones(window.shape, np.bool_)
        inside: Mask = self.region.read(window)
        return inside

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides the scores, as plain JSON types."""
        pair = self.pair
        return {
            "version": __version__,
            "model": self.model.get("sha256") or _without_file(self.detector),
            "before": _identity(pair.before),
            "after": _identity(pair.after),
            "bands": [pair.before.bands, pair.after.bands],
            "stretch": pair.stretch_used,
            "values": [asdict(rules) for rules in pair.rules],
            "resampling": self.request.resampling,
            **self.tiling._asdict(),
            "device": self.detector.device_name.partition(":")[0],
            "test_time": self.detector.test_time,
            "kind": self.detector.kind,
            **graph_runtime(self.detector.runtime),
            "gsd_m": self.gsd.factor,
            "grid": [self.grid.crs, list(self.grid.transform)[:6], self.grid.shape],
            "region": self.region_sha256,
            "coregister": self.shift_used,
        }


def open_pair(
    request: SceneRequest, detector: Detector, *, remarks: Remarks | None = None
) -> RasterPair:
    """Open both rasters in the way that suits the model.

    Where no bands are asked for, those that the model was trained on are read, if it knows them
    and the rasters have them.

    Args:
        request: As asked.
        detector: The model.
        remarks: Gets which bands were chosen for the user, and how the rasters are read.

    Raises:
        ConfigError: If the bands or values asked for do not fit the rasters or the model.
        DataError: If a raster cannot be read, or the two do not fit each other.
    """
    remarks = remarks or Remarks()
    for location in (request.before, request.after):
        refuse_turned(location)
    is_fitted = isinstance(detector.scorer, SceneFitted)
    options = pair_options(
        request, None if is_fitted else detector.card, detector.in_channels, remarks=remarks
    )
    pair = RasterPair(request.before, request.after, options)
    remarks.add(*remarks_on_reading(pair.facts))
    return pair


def pair_options(
    request: SceneRequest, card: ModelCard | None, channels: int, *, remarks: Remarks
) -> PairOptions:
    """Say how both rasters are read: as the user wants it, else as it suits the model.

    Args:
        request: As asked.
        card: Of the model; None: what measures the scene takes values of all kinds.
        channels: Bands that the model takes.
        remarks: Gets which bands were chosen for the user.

    Raises:
        ImageError: If a raster cannot be opened.
    """
    bands, bands_after = request.bands, request.bands_after
    if card is not None:
        bands, bands_after = _choose_bands(request, card, remarks=remarks)
    return PairOptions(
        channels=channels,
        pixel_type=ANY_TYPE if card is None else card.pixel_type,
        bands=bands,
        bands_after=bands_after,
        stretch=request.stretch,
        nodata=request.nodata,
        alpha=request.alpha,
        resampling=request.resampling,
    )


def match_scene(
    request: SceneRequest, detector: Detector, pair: RasterPair, *, remarks: Remarks
) -> GsdMatch:
    """Settle how a pair is resampled for the model, and say what it and the model have in common.

    Args:
        request: As asked.
        detector: The model.
        pair: Both rasters.
        remarks: Gets what the user must know.

    Raises:
        ConfigError: If the ground sample distance that was given is none.
    """
    card, measured = detector.card, pair.before.gsd_m
    kind = kind_note(card, detector.kind, given=request.kind)
    if kind is not None:
        remarks.tell(kind, topic="model")
    match = match_gsd(card, given=request.gsd_m, measured=measured)
    # Where a model states at which lengths it works, those of its training are no news.
    compared = match.gsd_m if card.working_gsd_m is None else None
    remarks.add(
        *remarks_on_domain(card.domain, compared, pair.facts.values),
        *remarks_on_gsd(match, measured=measured),
    )
    return match


def _choose_bands(
    request: SceneRequest, card: ModelCard, *, remarks: Remarks
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    asked = (request.bands, request.bands_after)
    known = card.source_bands
    if request.bands is not None or known is None:
        return asked
    known_after = request.bands_after or card.source_bands_after
    listed = ",".join(map(str, known))
    if known_after is not None and known_after != known:
        listed += f" (after: {','.join(map(str, known_after))})"
    for location, bands in ((request.before, known), (request.after, known_after or known)):
        with open_raster(location) as raster:
            count = raster.count
        if max(bands) > count:
            name = without_secrets(location)
            remarks.add(remark_on_missing_bands(listed, raster=name, count=count))
            return asked
    remarks.tell(
        f"reading bands {listed}, as in training; set `bands` to choose others", topic="values"
    )
    return known, known_after


def prepare(
    request: SceneRequest,
    detector: Detector,
    opened: RasterPair,
    *,
    gsd: GsdMatch,
    threshold: float,
    tiling: Tiling,
    remarks: Remarks,
    stack: ExitStack,
    measures: SceneMeasures | None = None,
) -> SceneJob:
    """Measure the shift, choose the tiles and the area; say what the user must know.

    Args:
        request: As asked.
        detector: The model.
        opened: Both rasters.
        gsd: How they are resampled for the model.
        threshold: Score from which on a pixel counts as changed.
        tiling: Tiles and batches.
        remarks: Gets coverage, shift and warnings.
        stack: Closes what is opened here.
        measures: What was measured before on the same scene; None: it is measured here.

    Raises:
        ConfigError: If the area of interest is no area, or the polygons' options make no sense.
        DataError: If a raster cannot be read, or the area lies outside of it.
    """
    grid = opened.grid
    if request.polygons.format == "geojson" and not has_degrees(grid):
        # The map does not depend on it, and a GeoPackage holds the same polygons.
        remarks.add(remark_on_geojson(grid))
        request = replace(request, polygons=replace(request.polygons, format="gpkg"))
    check_polygon_options(request.polygons, grid)
    remarks.add(
        *remarks_on_results(
            has_sidecar=try_place(grid, name=opened.before.name),
            polygons=check_polygon_place(request.polygons.format, grid),
        )
    )
    geometry = _region(request, grid, remarks=remarks)
    region = None if geometry is None else RegionMask(geometry.__geo_interface__, grid)
    target = grid.window if region is None else region.window
    if region is not None and not region.read(target).any():
        raise DataError(
            "the area of interest contains no pixel centre; give a larger one, or check its "
            "coordinates and CRS (`region_crs`)"
        )
    alignment = measure_alignment(opened, request) if measures is None else measures.alignment
    pair, correction = opened, alignment.correction
    if correction.shift_px is not None:
        pair = stack.enter_context(closing(opened.with_shift(correction.shift_px)))
    remarks.add(
        *remarks_on_alignment(opened.coverage, grid.shape, alignment.shift),
        *remarks_on_shift(
            alignment.shift,
            coregister=request.coregister,
            coarsest_px=opened.facts.coarsest_px,
        ),
        *remarks_on_correction(correction),
    )
    if alignment.are_dates_identical:
        remarks.add(remark_on_identical_dates())
    scorer, model = detector.scorer, detector.metadata
    if measures is None:
        distance = distance_of_scene(pair.read, target, detector.card.domain, zoom=gsd.factor)
    else:
        distance = measures.domain_distance
    remarks.add(*remarks_on_distance(distance))
    if isinstance(scorer, SceneFitted):
        scorer = _fit(scorer, pair, target, region=region, remarks=remarks)
        model = {**model, "measured": scorer.measured}
    effect = None if measures is None else measures.tile_effect
    if detector.scorer.fixed_tile and tiling.tile_px != detector.tile_px:
        if measures is None:
            effect = measure_tile_effect(
                pair.read,
                grid,
                scorer=scorer,
                trained_px=detector.tile_px,
                used_px=tiling.tile_px,
                threshold=threshold,
            )
        remarks.add(remark_on_tiles(effect, detector, tiling))
    return SceneJob(
        request=request,
        detector=detector,
        scorer=scorer,
        gsd=gsd,
        model=model,
        pair=pair,
        grid=grid.crop(target),
        region=region,
        region_sha256=None if geometry is None else region_sha256(geometry),
        plan=TilePlan(grid.shape, (tiling.tile_px,) * 2, tiling.overlap_px, target),
        tiling=tiling,
        threshold=threshold,
        measures=SceneMeasures(alignment, distance, effect),
    )


def _fit(
    method: SceneFitted,
    pair: RasterPair,
    target: Window,
    *,
    region: RegionMask | None,
    remarks: Remarks,
) -> FittedScorer:
    """Measure what will be scored: the common area, or the area of interest."""

    def read(window: Window) -> PairPixels:
        pixels = pair.read(window)
        if region is None:
            return pixels
        return pixels._replace(valid=pixels.valid & region.read(window))

    return method.fit(read, target.cut(_WINDOW_PX), say=remarks.tell)


def _without_file(detector: Detector) -> list[object]:
    """Tell one model from another where no file does it."""
    scorer, metadata = detector.scorer, detector.metadata
    if "baseline" in metadata:
        return [metadata]
    # Nobody knows what another scorer computes with: its unfinished runs are not resumed.
    weights = scorer.weights_sha256 if isinstance(scorer, KnownByWeights) else uuid.uuid4().hex
    return [metadata, weights]


def _identity(raster: RasterInfo) -> list[object]:
    """Tell one state of a raster from another; a renewed signature of its address is none."""
    return [raster.name, raster.size_bytes, raster.changed_at]


def _region(request: SceneRequest, grid: GeoGrid, *, remarks: Remarks) -> shapely.Geometry | None:
    if request.region is None:
        return None
    geometry = read_region(
        request.region, crs=grid.crs, text_crs=request.region_crs, tell=remarks.tell
    )
    inside = geometry.intersection(shapely.box(*grid.bounds)).area / geometry.area
    if inside < _WHOLE:
        remarks.add(remark_on_area(1 - inside))
    return geometry
