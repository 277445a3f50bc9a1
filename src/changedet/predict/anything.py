"""One function for everything that can be predicted on: images, rasters, folders of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from changedet.baselines.names import is_baseline
from changedet.errors import ChangeDetError, ConfigError
from changedet.inference.detector import Detector
from changedet.inference.inputs import count_channels
from changedet.inference.opening import open_detector
from changedet.predict.folders import predict_scenes
from changedet.predict.images import PredictionReport, predict_files
from changedet.predict.inputs import is_folder_of_images, is_scene
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneReport, make_request

if TYPE_CHECKING:
    from changedet.inference.inputs import AnyImage
    from changedet.inference.prediction import Prediction

#: What is written for two images or folders of them, for two rasters, for two folders of rasters.
Written: TypeAlias = PredictionReport | SceneReport | dict[str, SceneReport | ChangeDetError]


@overload
def predict(
    before: AnyImage,
    after: AnyImage,
    *,
    model: str | Path | Detector,
    out: None = None,
    threshold: float | None = ...,
    kind: str | None = ...,
    gsd_m: float | None = ...,
    device: str = ...,
) -> Prediction: ...
@overload
def predict(
    before: str | Path,
    after: str | Path,
    *,
    model: str | Path | Detector,
    out: str | Path,
    threshold: float | None = ...,
    kind: str | None = ...,
    gsd_m: float | None = ...,
    device: str = ...,
    say: Callable[[str], None] = ...,
    **options: Any,  # noqa: ANN401
) -> Written: ...
def predict(
    before: AnyImage,
    after: AnyImage,
    *,
    model: str | Path | Detector,
    out: str | Path | None = None,
    threshold: float | None = None,
    kind: str | None = None,
    gsd_m: float | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Prediction | Written:
    """Find what changed between two dates: in memory, or with results as files.

    Without ``out``, two images give a :class:`~changedet.inference.prediction.Prediction`; for
    many of them, :func:`changedet.load` a detector once. With ``out``, paths of images, rasters or
    folders give the files that ``changedet predict`` writes.

    Example:
        >>> changedet.predict("a.png", "b.png", model="model.safetensors").save("result")
        >>> changedet.predict("a.tif", "b.tif", model="baseline:cva", out="result")

    Args:
        before: The earlier image, see :meth:`changedet.inference.detector.Detector.predict`; with
            ``out``, the path of an image, a raster or a folder.
        after: The later one.
        model: Model file, ``baseline:NAME``, or a detector.
        out: Folder for the results.
        threshold: Score in [0, 1] to use instead of the model's own.
        kind: Kind of change to find, of those that the model tells apart; None: its first one, or
            that of the detector.
        gsd_m: Side of a pixel on the ground in metres, for a model that states at which ones it
            works; None: what the rasters' CRS says.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``; a detector has its own.
        say: Gets sentences for the user, with ``out``.
        options: With ``out``, the other arguments of
            :func:`changedet.predict.images.predict_files`, or for rasters the other fields of
            :class:`changedet.predict.request.SceneRequest`.

    Returns:
        Without ``out`` the prediction; with it a report: of the images, of the scene, or for two
        folders of rasters one of each scene by its name, or the reason why there is none.

    Raises:
        ConfigError: If an option is wrong or ``out`` is not free.
        DataError: If the images cannot be read, or do not fit each other or the model.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
    """
    if out is None:
        if options:
            raise ConfigError(
                f"`{next(iter(options))}` is for results as files; set `out`, or leave it out"
            )
        if isinstance(model, Detector):
            detector = model.for_kind(kind)
        else:
            channels = count_channels(before, after) if is_baseline(str(model)) else None
            detector = open_detector(str(model), device=device, kind=kind, channels=channels)
        return detector.predict(before, after, threshold=threshold, gsd_m=gsd_m)
    if not (isinstance(before, str | Path) and isinstance(after, str | Path)):
        raise ConfigError(
            "with `out`, images are given as paths; for others, predict without it and save what "
            "is returned"
        )
    chosen: dict[str, Any] = {"model": None if isinstance(model, Detector) else str(model)}
    detector_or_none = model if isinstance(model, Detector) else None
    options |= {"threshold": threshold, "kind": kind, "gsd_m": gsd_m, "device": device}
    if not (is_scene(str(before)) or is_scene(str(after))):
        return predict_files(
            Path(before), Path(after), out=Path(out), detector=detector_or_none, **chosen, **options
        )
    request = make_request(before, after, out=out, **chosen, **options)
    if is_folder_of_images(str(before)) or is_folder_of_images(str(after)):
        return dict(predict_scenes(request, detector=detector_or_none, say=say))
    return predict_scene(request, detector=detector_or_none, say=say)
