"""What is said about a pair where a model comes in; see :mod:`changedet.raster.remarks`."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from changedet.domain import Domain
from changedet.inference.detector import Detector
from changedet.predict.far_domain import FarBand, far_bands, far_gsd, levels_of_scene
from changedet.predict.registration import Correction
from changedet.predict.tiling import TileEffect, Tiling
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.lonlat import crs_name
from changedet.raster.pair_values import PairValueFacts
from changedet.raster.remarks import (
    Remark,
    Remarks,
    note,
    remarks_on_alignment,
    remarks_on_reading,
    warning,
    warnings_of,
)
from changedet.raster.shift_estimate import ShiftEstimate
from changedet.vector.place import Kept

__all__ = (
    "Remark",
    "Remarks",
    "note",
    "remark_on_area",
    "remark_on_geojson",
    "remark_on_identical_dates",
    "remark_on_missing_bands",
    "remark_on_tiles",
    "remarks_on_alignment",
    "remarks_on_correction",
    "remarks_on_domain",
    "remarks_on_far_gsd",
    "remarks_on_images",
    "remarks_on_reading",
    "remarks_on_results",
    "remarks_on_shift",
    "warning",
    "warnings_of",
)

#: From this shift on, in pixels of the coarser date, the user is warned.
LARGE_SHIFT_PX: Final = 1.0


def remarks_on_shift(
    shift: ShiftEstimate | None, *, coregister: Literal["off", "global"], coarsest_px: float
) -> Iterator[Remark]:
    """Warn of a shift that is left as it is.

    Args:
        shift: As measured, if it could be.
        coregister: What was asked for.
        coarsest_px: Length of a pixel of the coarser date in pixels of the scene.
    """
    if coregister == "off" and shift and shift.length_px > LARGE_SHIFT_PX * coarsest_px:
        yield warning(
            "alignment",
            f"the dates lie {shift.length_px:.1f} px apart, which looks like change; use "
            '`coregister="global"` to correct it',
        )


def remarks_on_correction(correction: Correction) -> Iterator[Remark]:
    """Say what became of the correction of the shift, if one was asked for."""
    left = correction.remaining
    if correction.shift_px is not None and left is not None:
        yield note(
            "alignment",
            f"this shift is corrected; measured again, {left.length_px:.2f} px are left",
        )
    if correction.refusal is None:
        return
    why = {
        "unknown": "it could not be measured (too little overlap or texture, too few tiles that "
        "agree, or more than a quarter of a tile)",
        "small": "it is so small that resampling would cost more",
        "uncertain": "it is smaller than the error of its measurement",
        "worse": "measured again with the correction, the dates lie no closer "
        + ("(too few tiles agree)" if left is None else f"({left.length_px:.2f} px)"),
    }[correction.refusal]
    make = note if correction.refusal == "small" else warning
    yield make("alignment", f"the shift is not corrected: {why}")


def remark_on_identical_dates() -> Remark:
    """Say that there is nothing to compare."""
    return warning(
        "place",
        "before and after hold the same values wherever they were compared, so nothing can have "
        "changed; check that they are two dates",
    )


def remarks_on_results(*, has_sidecar: bool, polygons: Kept) -> Iterator[Remark]:
    """Say where the place of the results stands, if not in the files themselves.

    Args:
        has_sidecar: Whether GeoTIFF keys cannot say it.
        polygons: How much of the CRS the polygon file keeps.
    """
    if has_sidecar:
        yield note(
            "place",
            "GeoTIFF cannot express the whole CRS of the rasters: it is in .aux.xml files next to "
            "the results, which must be moved and copied with them",
        )
    if polygons == "no datum parameters":
        yield note(
            "place",
            "the polygon file has the CRS without its parameters to WGS 84 (TOWGS84); the format "
            "geoparquet keeps them",
        )


# From this share of the images on, values far from the training's are spoken of.
_FAR_IMAGES: Final = 0.05
_ONE_PAIR: Final = 2


def remark_on_geojson(grid: GeoGrid) -> Remark:
    """Say that the polygons of a grid without longitudes and latitudes are no GeoJSON."""
    return warning(
        "place",
        "GeoJSON needs longitudes and latitudes on Earth, and none are known for rasters in "
        f"{crs_name(grid.crs or '')} at x {grid.bounds[0]:.7g}, y {grid.bounds[3]:.7g}: the "
        "polygons are written to polygons.gpkg instead, which takes any coordinates",
    )


def remark_on_area(share_outside: float) -> Remark:
    """Say that part of the area of interest, a share in [0, 1], has no pixels."""
    return note(
        "area",
        f"{100 * share_outside:.1f} % of the area of interest lies outside the common area",
    )


def remark_on_tiles(effect: TileEffect | None, detector: Detector, tiling: Tiling) -> Remark:
    """Say what tiles of another size than the training's change."""
    start = (
        f"the model uses attention and was trained on tiles of {detector.tile_px} px, not of "
        f"{tiling.tile_px}"
    )
    if effect is None:
        return warning("model", f"{start}; the scene is too small to measure the difference")
    return warning(
        "model",
        f"{start}: scores differ by {effect.mean_difference:.4f} on average, "
        f"{100 * effect.flipped_share:.2f} % of the sampled pixels cross the threshold",
    )


def remark_on_missing_bands(listed: str, *, raster: str, count: int) -> Remark:
    """Say that a raster lacks the bands that the model was trained on."""
    return warning(
        "values",
        f"the model was trained on bands {listed} of its rasters, but {raster} has {count}; set "
        "`bands` to choose which to read",
    )


def remarks_on_domain(
    domain: Domain | None, gsd_m: float | None, values: PairValueFacts | None
) -> Iterator[Remark]:
    """Say what a model was trained on, and how far a pair of rasters is from that.

    Args:
        domain: What the model was trained on, if that is known.
        gsd_m: Ground sample distance of the pair, in metres.
        values: What is known of its values.
    """
    yield from _trained_on(domain)
    yield from remarks_on_far_gsd(domain, gsd_m)
    if values is not None:
        levels = levels_of_scene(values)
        for date, found in zip((values.before, values.after), levels, strict=True):
            bands = far_bands(found, domain)
            if bands:
                yield warning("model", _far_values(date.raster, bands))


def remarks_on_far_gsd(domain: Domain | None, gsd_m: float | None) -> Iterator[Remark]:
    """Warn of a ground sample distance, in metres, that is far from those of the training."""
    far = far_gsd(gsd_m, domain)
    if far is not None:
        low, high = far.trained
        trained = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        yield warning(
            "model",
            f"the model was trained on pixels of {trained} m, and those of this pair are "
            f"{far.found:.3g} m long, beyond that by a factor of {far.factor:.1f}: objects look "
            "different at that size, and the result may mean little; resample both dates "
            "(gdalwarp -tr), or use another model",
        )


def remarks_on_images(
    domain: Domain | None, far: Sequence[tuple[str, tuple[FarBand, ...]]], *, images: int
) -> Iterator[Remark]:
    """Say how many images are far from what a model was trained on.

    Args:
        domain: What the model was trained on, if that is known.
        far: Names of the images that are, with their bands.
        images: How many there are in all, of both dates.
    """
    yield from _trained_on(domain)
    if far and len(far) >= _FAR_IMAGES * images:
        name, bands = far[0]
        many = f"{len(far)} of {images} images: " if images > _ONE_PAIR else ""
        yield warning("model", many + _far_values(name, bands))


def _trained_on(domain: Domain | None) -> Iterator[Remark]:
    if domain is None:
        return
    described = domain.describe()
    if described is not None:
        yield note("model", f"the model was trained on: {described}")
    if domain.is_generated:
        yield warning(
            "model",
            "the model was trained on generated pictures alone: on real images its results mean "
            "little",
        )


def _far_values(name: str, bands: Sequence[FarBand]) -> str:
    first = bands[0]
    low, middle, high = first.found
    return (
        f"the values of {name} are far from those that the model was trained on (channel "
        f"{first.channel}: median {middle:.4g}, 98 % from {low:.4g} to {high:.4g}; in training "
        f"{first.trained.middle:.4g}, {first.trained.low:.4g} to {first.trained.high:.4g}), so the "
        "result may mean little; check units, bands and limits of a stretch"
    )
