"""Change maps as files, for one pair of images or for two folders of them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from changedet._version import __version__
from changedet.card import check_threshold
from changedet.data.appearance import DomainDistance, distance_of, features_of_images
from changedet.data.images import RASTER_SUFFIXES, image_orientation, image_size, read_image
from changedet.data.labelled import BothDates
from changedet.data.layouts import FoundPairs, images_by_stem
from changedet.data.parallel import load_ahead, room_for
from changedet.data.window_features import FloatArray
from changedet.errors import ConfigError, DataError
from changedet.inference.detector import Detector, Prediction
from changedet.inference.memory import keep_freed_memory
from changedet.inference.opening import open_detector
from changedet.inference.provenance import kind_note, settle_threshold
from changedet.inference.scorer import Image, SceneFitted
from changedet.inference.tiling import WHOLE_PX, score_pairs
from changedet.inference.working_gsd import GsdMatch, check_gsd, match_gsd, remarks_on_gsd
from changedet.predict.domain_distance import remarks_on_distance
from changedet.predict.far_domain import FarBand, far_bands, levels_of_image
from changedet.predict.remarks import (
    Remark,
    note,
    remarks_on_far_gsd,
    remarks_on_images,
)
from changedet.predict.summary import (
    SUMMARY,
    ImagePairSummary,
    ImagesSummary,
    PictureFacts,
    Threshold,
    scorer_facts,
)
from changedet.raster.sidecars import world_file_of
from changedet.rendering.heatmap import colour_scale
from changedet.storage.output_folder import (
    Existing,
    check_result_folder,
    claimed,
    result_folder,
)
from changedet.storage.text import first_few
from changedet.types import MAX_DISTANCE, Arithmetic, Progress, Runtime, TestTime


@dataclass(frozen=True)
class PredictedPair:
    """What was found in one pair.

    Attributes:
        name: Stem of the files.
        before: Image of the first date.
        after: Image of the second date.
        width: In pixels.
        height: In pixels.
        changed_share: Share of the pixels that have changed, in [0, 1].
    """

    name: str
    before: Path
    after: Path
    width: int
    height: int
    changed_share: float


@dataclass(frozen=True)
class PredictionReport:
    """What a run of :func:`predict_files` wrote.

    Attributes:
        out: The folder.
        threshold: Score from which on a pixel counts as changed.
        threshold_source: Who chose it.
        pairs: What was found, in the order of the names.
        remarks: What the user should know.
    """

    out: Path
    threshold: float
    threshold_source: str
    pairs: tuple[PredictedPair, ...]
    remarks: tuple[Remark, ...] = ()


#: Name of an image, and its bands whose values are far from those of the training.
_FarImage = tuple[str, tuple[FarBand, ...]]


class _Use(NamedTuple):
    """How a model is used on images: their ground sample distance, and what is said of it."""

    gsd: GsdMatch
    remarks: tuple[Remark, ...]

    @classmethod
    def settle(cls, detector: Detector, kind: str | None, gsd_m: float | None) -> Self:
        card = detector.card
        gsd = match_gsd(card, given=gsd_m, measured=None)
        on_kind = kind_note(card, detector.kind, given=kind)
        compared = gsd.gsd_m if card.working_gsd_m is None else None
        return cls(
            gsd,
            (
                *(() if on_kind is None else (note("model", on_kind),)),
                *remarks_on_far_gsd(card.domain, compared),
                *remarks_on_gsd(gsd, measured=None),
            ),
        )


class _Files(NamedTuple):
    name: str
    before: Path
    after: Path


def predict_files(
    before: str | Path,
    after: str | Path,
    *,
    model: str | Path | None = None,
    detector: Detector | None = None,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    out: str | Path,
    threshold: float | None = None,
    test_time: TestTime | None = None,
    kind: str | None = None,
    gsd_m: float | None = None,
    device: str = "auto",
    runtime: Runtime = "auto",
    precision: Arithmetic = "float32",
    batch_size: int = 8,
    existing: Existing = "refuse",
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> PredictionReport:
    """Write the change maps of one pair, or of all pairs in two folders.

    Each pair gets ``score.png`` (16 bit, round(score * 65535)), ``mask.png`` (0 or 255),
    ``heatmap.png`` (see :func:`changedet.rendering.heatmap.heatmap`), ``overlay.png`` and
    ``summary.json``: for two images in ``out`` itself, for two folders in ``out/STEM``, with one
    more ``summary.json`` for all of them. ``out`` appears when everything is done.

    Args:
        before: Image of the first date, or a folder of such images.
        after: Image of the second date, or a folder whose files have the same stems.
        model: Model file, or ``baseline:NAME`` for an untrained baseline that measures each pair by
            itself; None where a detector is given instead.
        detector: Scores the pairs, instead of one made from ``model``, ``device`` and
            ``test_time``.
        encoder: Encoder of ``baseline:deep_difference``; None: the package's.
        encoder_weights: Its weights; None: those of the package.
        out: Folder for the results.
        threshold: Score in [0, 1] to use instead of the model's own.
        test_time: Test-time augmentation; None: the one stored with the model.
        kind: Kind of change to find, of those that the model tells apart; None: its first one, or
            that of the detector.
        gsd_m: Side of a pixel on the ground in metres, for a model that states at which ones it
            works: the images are resampled for it.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        runtime: What computes an exported model (``.onnx``), see
            :class:`changedet.predict.request.SceneRequest`.
        precision: In what, likewise.
        batch_size: Tiles that go through the model at once.
        existing: What to do if ``out`` already holds results: ``refuse``, ``replace``.
        say: Gets sentences for the user.
        progress: Called after each pair.

    Raises:
        ConfigError: If there is no threshold, it is no score, the model does not know the kind of
            change, the ground sample distance is none, or ``out`` is not free.
        DataError: If images are missing, unreadable, or do not fit each other or the model.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
    """
    before, after, out = Path(before), Path(after), Path(out)
    check_result_folder(out, marker=SUMMARY, existing=existing)
    if threshold is not None:
        check_threshold(threshold)
    if gsd_m is not None:
        check_gsd(gsd_m)
    files = _list_pairs(before, after)
    _refuse_rasters(files)
    largest = _check_pairs(files)
    for sentence in _differently_turned(files):
        say(sentence)
    if detector is None:
        if model is None:
            raise ConfigError("neither a model nor a detector is given; give one of them")
        detector = open_detector(
            model,
            device=device,
            test_time=test_time,
            kind=kind,
            encoder=encoder,
            encoder_weights=encoder_weights,
            runtime=runtime,
            precision=precision,
        )
    detector = detector.for_kind(kind)
    name = str(detector.path or "the model")
    keep_freed_memory(detector.device_name)
    if detector.card.pixel_type != "uint8":
        raise DataError(
            f"{name} was trained on {detector.card.pixel_type} rasters, and PNG and JPEG images "
            "are read as 8 bit; give GeoTIFFs like those it was trained on"
        )
    domain = detector.card.domain
    use = _Use.settle(detector, kind, gsd_m)
    detector = detector.zoomed(use.gsd.factor)
    remarks: tuple[Remark, ...] = ()
    chosen, source = settle_threshold(detector.card, threshold, model=name)
    facts: dict[str, Any] = {
        "version": __version__,
        "model": scorer_facts(detector.metadata),
        "threshold": Threshold(score=chosen, distance=chosen * MAX_DISTANCE, source=source),
        "device": detector.device_name,
        "tile_px": detector.tile_px,
        "test_time": detector.test_time,
        "heatmap": colour_scale(chosen).describe(),
        "change_kind": detector.kind,
        "runtime": detector.runtime,
        "gsd": use.gsd,
    }
    with (
        claimed(out, marker=SUMMARY, existing=existing),
        result_folder(out, marker=SUMMARY) as folder,
    ):
        single = before.is_file()
        found: list[PredictedPair] = []
        far: list[_FarImage] = []
        looks: list[FloatArray | None] = []
        distances: list[DomainDistance | None] = []
        for pair, prediction, images in _predictions(
            detector,
            files,
            threshold=chosen,
            batch_size=batch_size,
            ahead=room_for(largest),
        ):
            place = Path() if single else Path(pair.name)
            entry = _write_pair(folder / place, pair, prediction)
            strange = list(_far_images(detector, pair, images))
            looks.append(features_of_images(BothDates(*images), domain, zoom=use.gsd.factor))
            distances.append(distance_of(looks[-1:], domain))
            remarks = (
                *use.remarks,
                *remarks_on_images(domain, strange, images=2),
                *remarks_on_distance(distances[-1]),
            )
            ImagePairSummary(
                **facts, **_fields(entry), remarks=remarks, domain_distance=distances[-1]
            ).write(folder / place / SUMMARY)
            found.append(entry)
            far += strange
            if progress is not None:
                progress(len(found), len(files))
        if not single:
            pairs = tuple(PictureFacts(**_fields(entry)) for entry in found)
            distance = distance_of(looks, domain)
            remarks = (
                *use.remarks,
                *remarks_on_images(domain, far, images=2 * len(found)),
                *remarks_on_distance(distance, pairs=distances),
            )
            ImagesSummary(
                **facts, images=len(pairs), pairs=pairs, remarks=remarks, domain_distance=distance
            ).write(folder / SUMMARY)
    return PredictionReport(out, chosen, source, tuple(found), remarks)


def _list_pairs(before: Path, after: Path) -> list[_Files]:
    for path in (before, after):
        if not path.exists():
            raise DataError(f"there is no file or folder {path}; check the spelling")
    if before.is_dir() != after.is_dir():
        folder, file = (before, after) if before.is_dir() else (after, before)
        raise DataError(
            f"{folder} is a folder and {file} is a file; give two images, or two folders whose "
            "files have the same stems"
        )
    if before.is_file():
        return [_Files(after.stem, before, after)]
    first, second = _images_of(before), _images_of(after)
    lonely = [
        f"{len(stems)} image(s) have no partner in {folder}: {first_few(sorted(stems))}"
        for folder, stems in (
            (after, first.keys() - second.keys()),
            (before, second.keys() - first.keys()),
        )
        if stems
    ]
    if lonely:
        raise DataError(f"{'; '.join(lonely)}; add the partners or remove these images")
    return [_Files(stem, first[stem], second[stem]) for stem in sorted(first)]


def _images_of(folder: Path) -> dict[str, Path]:
    found = FoundPairs()
    images = images_by_stem(folder, found)
    if found.faults:
        raise DataError(f"{found.faults[0]}; pairs are matched by the stem of their file names")
    return images


def _check_pairs(files: list[_Files]) -> tuple[int, int]:
    """Compare sizes from the headers of all files, before any computing; give the largest."""
    largest = (0, 0)
    for pair in files:
        sizes = image_size(pair.before), image_size(pair.after)
        if sizes[0] != sizes[1]:
            (height, width), (other_height, other_width) = sizes
            raise DataError(
                f"{pair.before} is {width}x{height} and {pair.after} {other_width}x{other_height} "
                "(width x height); the images of a pair must have the same size; crop or resample "
                "one"
            )
        largest = max(largest, sizes[0], key=math.prod)
    return largest


def _differently_turned(files: list[_Files]) -> list[str]:
    """Say where only one date is turned upright, or both are but not alike."""
    differ = [
        pair.name
        for pair in files
        if image_orientation(pair.before) != image_orientation(pair.after)
    ]
    if not differ:
        return []
    return [
        f"warning: before and after have different EXIF orientations and are turned upright: "
        f"{first_few(differ)}; see that both show the same ground"
    ]


def _refuse_rasters(files: list[_Files]) -> None:
    """Plain images have no georeference; a raster has one, and ignoring it would be wrong."""
    for pair in files:
        if world_file_of(pair.before) != world_file_of(pair.after):
            raise DataError(
                f"{pair.before} and {pair.after} lie at different places according to their world "
                "files, and pictures are compared pixel by pixel; give such a pair to a prediction "
                "on rasters (changedet.predict_scene), or remove world files that are wrong"
            )
        for path in (pair.before, pair.after):
            if path.suffix.lower() in RASTER_SUFFIXES:
                raise DataError(
                    f"{path} is a TIFF among PNG or JPEG images; put TIFFs into folders of their "
                    "own: they are aligned by their georeference and give GeoTIFFs"
                )


def _predictions(
    detector: Detector,
    files: list[_Files],
    *,
    threshold: float,
    batch_size: int,
    ahead: int,
) -> Iterator[tuple[_Files, Prediction, tuple[Image, Image]]]:
    """Predict pair after pair; each comes with its images."""

    def read(pair: _Files) -> tuple[_Files, Image, Image]:
        channels = detector.in_channels
        before = read_image(pair.before, channels=channels)
        return pair, before, read_image(pair.after, channels=channels)

    scored = score_pairs(
        detector.scorer,
        load_ahead(read, files, ahead=ahead),
        images=lambda item: detector.checked_pair((item[1], item[2])),
        tile_px=WHOLE_PX if isinstance(detector.scorer, SceneFitted) else None,
        batch_size=batch_size,
    )
    for (pair, before, after), score in scored:
        prediction = Prediction(detector.scorer.to_host(score), threshold, after=after)
        yield pair, prediction, (before, after)


def _far_images(
    detector: Detector, pair: _Files, images: tuple[Image, Image]
) -> Iterator[_FarImage]:
    """Give those images of a pair whose values are far from those of the training."""
    for path, image in zip((pair.before, pair.after), images, strict=True):
        bands = far_bands(levels_of_image(image), detector.card.domain)
        if bands:
            yield str(path), bands


def _write_pair(folder: Path, pair: _Files, prediction: Prediction) -> PredictedPair:
    prediction.save(folder)
    height, width = prediction.score.shape
    return PredictedPair(
        name=pair.name,
        before=pair.before,
        after=pair.after,
        width=width,
        height=height,
        changed_share=prediction.changed_share,
    )


def _fields(entry: PredictedPair) -> dict[str, Any]:
    return {**asdict(entry), "before": str(entry.before), "after": str(entry.after)}
