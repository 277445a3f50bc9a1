"""What the accuracy benchmark is asked to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from changedet._optional import MATPLOTLIB, TORCH, check_all
from changedet.baselines.names import full_name
from changedet.data.index import check_one_data_set
from changedet.data.tools.near_duplicates import DEFAULT_LIMIT
from changedet.errors import ConfigError
from changedet.evaluation.data_request import DataRequest
from changedet.inference.working_gsd import check_gsd
from changedet.types import Mode

#: ``split``: chosen on the threshold split, for each way of viewing; ``stored``: the method's own.
ThresholdPolicy = Literal["split", "stored"]
#: Whether the baselines are evaluated as well.
Baselines = Literal["all", "none"]


@dataclass(frozen=True)
class AccuracyRequest(DataRequest):
    """What to evaluate, and how.

    Further fields are those of :class:`changedet.evaluation.data_request.DataRequest`.

    Attributes:
        methods: Model files, and baselines as ``baseline:NAME``.
        data: Folder of the data set, or manifest of scenes.
        out: Folder for the results.
        split: Name of the split to report.
        threshold: Where thresholds come from.
        threshold_split: Name of the split that chooses thresholds.
        baselines: Whether to evaluate all baselines as well.
        encoder_weights: Weights of the encoder of ``baseline:deep_difference``, as for
            :func:`changedet.baselines.registry.create_baseline`; None: those of the package.
        gsd_m: Side of a pixel on the ground in metres, to give sizes of objects in square metres,
            and for models that state at which ones they work; None: what the georeference says.
        duplicate_limit: Correlation from which on two images count as near-duplicates, in (0, 1].
        resamples: Draws of the bootstrap.
        seed: Seed of the bootstrap.
        command: The command line, to be written down.
    """

    methods: tuple[str, ...]
    data: Path
    out: Path
    split: str = "test"
    threshold: ThresholdPolicy = "split"
    threshold_split: str = "val"
    baselines: Baselines = "all"
    encoder_weights: str | None = None
    duplicate_limit: float = DEFAULT_LIMIT
    resamples: int = 1000
    seed: int = 0
    command: str | None = None

    def check(self) -> None:
        """Refuse settings that make no sense, before anything is read.

        Raises:
            ConfigError: Naming the option.
            DataError: If the data are a mixture of data sets.
            MissingExtraError: If PyTorch, which counts operations, or matplotlib is not installed.
        """
        check_one_data_set(self.data)
        if not self.methods and self.baselines == "none":
            raise ConfigError(
                "there is nothing to evaluate; give a model file or baseline:NAME, or remove "
                '`baselines="none"`'
            )
        specs = [full_name(spec) for spec in self.methods]
        repeated = sorted({spec for spec in specs if specs.count(spec) > 1})
        if repeated:
            raise ConfigError(f"{repeated[0]} is given more than once; name every method once")
        if self.gsd_m is not None:
            check_gsd(self.gsd_m)
        if not 0.0 < self.duplicate_limit <= 1.0:
            raise ConfigError(
                "`duplicate_limit` is a correlation and must be in (0, 1], got "
                f"{self.duplicate_limit:g}"
            )
        if self.resamples < 1 or self.seed < 0:
            raise ConfigError(
                "the bootstrap needs at least 1 draw and a seed of 0 or more, got "
                f"{self.resamples} and {self.seed}"
            )
        check_all((TORCH, MATPLOTLIB))


class View(NamedTuple):
    """A way in which images are shown to a method.

    Attributes:
        name: For files.
        title: For readers.
        mode: How images larger than a tile are cut.
        tile_px: Height and width of a tile; None: the method's own.
    """

    name: str
    title: str
    mode: Mode
    tile_px: int | None


#: The 256 tiles of the literature, which lose what surrounds them, and the images as users have
#: them.
VIEWS = (
    View("grid_256", "256 x 256 tiles side by side", "grid", 256),
    View("whole", "whole images", "whole", None),
)
