"""What a curve over ground sample distances is asked to do; no PyTorch."""

from dataclasses import dataclass
from pathlib import Path

from changedet._optional import MATPLOTLIB, TORCH, check_all
from changedet.card import check_threshold
from changedet.data.index import check_one_data_set
from changedet.errors import ConfigError
from changedet.evaluation.data_request import DataRequest
from changedet.inference.working_gsd import check_gsd
from changedet.storage.markers import GSD_CURVE
from changedet.storage.output_folder import check_result_folder

# From half of the images' own length to four times it: finer ones cost ever more, and show nothing.
_STEPS = range(-2, 5)
# Images of another length than their own are made; more than this is not what a sensor would see.
_MOST = 16.0


@dataclass(frozen=True)
class GsdCurveRequest(DataRequest):
    """Which model to evaluate on images of which lengths.

    Further fields are those of :class:`changedet.evaluation.data_request.DataRequest`.

    Attributes:
        model: Model file, folder of a training run, or name of a model.
        data: Folder of the data set, or manifest of scenes.
        out: Folder for the results.
        gsd_m: Side of a pixel on the ground in metres; None: what the georeference says.
        lengths_m: Those to which the images are brought; None: steps of the square root of two from
            half of their own to four times it.
        split: Name of the split to report.
        pairs: How many pairs of it, spread evenly; None: all.
        threshold: Score in [0, 1] to use instead of the model's own.
    """

    model: Path
    data: Path
    out: Path
    lengths_m: tuple[float, ...] | None = None
    split: str = "val"
    pairs: int | None = None
    threshold: float | None = None

    def check(self) -> None:
        """Refuse settings that make no sense, and a folder that is not free, before reading.

        Raises:
            ConfigError: Naming the setting.
            DataError: If the data are a mixture of data sets.
            MissingExtraError: If PyTorch, which resamples, or matplotlib is not installed.
        """
        check_result_folder(self.out, marker=GSD_CURVE, existing=self.existing)
        check_one_data_set(self.data)
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.gsd_m is not None:
            check_gsd(self.gsd_m)
            lengths_of(self, self.gsd_m)
        if self.pairs is not None and self.pairs < 1:
            raise ConfigError(f"`pairs` must be at least 1, got {self.pairs}")
        check_all((TORCH, MATPLOTLIB))


def lengths_of(request: GsdCurveRequest, gsd_m: float) -> tuple[float, ...]:
    """Give the lengths to which images are brought, in metres, the smallest first.

    Args:
        request: As asked.
        gsd_m: That of the images.

    Raises:
        ConfigError: If one is none, or too far from that of the images.
    """
    if request.lengths_m is None:
        return tuple(gsd_m * 2 ** (step / 2) for step in _STEPS)
    for length in request.lengths_m:
        if not gsd_m / _MOST <= length <= gsd_m * _MOST:
            raise ConfigError(
                f"`lengths_m` must lie between {gsd_m / _MOST:.3g} and {gsd_m * _MOST:.3g} m for "
                f"images of {gsd_m:.3g} m, got {length:g}"
            )
    return tuple(sorted(set(request.lengths_m)))
