"""What a measurement of speed is asked to do; no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from changedet.baselines.names import is_baseline
from changedet.errors import ConfigError
from changedet.storage.markers import SPEED
from changedet.storage.output_folder import Existing, check_result_folder
from changedet.storage.paths import PathFields
from changedet.types import Arithmetic, Runtime, TestTime

#: Sides of the generated scenes in pixels; larger ones take minutes each.
DEFAULT_SIZES: Final = (1024, 2048)
SMALLEST_PX: Final = 64
LARGEST_PX: Final = 32768


@dataclass(frozen=True)
class SpeedRequest(PathFields):
    """Which model to time, and on what.

    Attributes:
        model: Model file, folder of a training run, or name of a model.
        out: Folder for the results.
        sizes: Heights and widths of the square scenes, in pixels.
        repeats: How often everything is measured; the sizes take turns.
        tile_px: Height and width of a tile; None: what suits the model.
        overlap_px: Pixels that neighbouring tiles share; None: a quarter of the tile.
        test_time: Test-time augmentation; None: the one stored with the model.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        runtime: What computes an exported model.
        precision: In what.
        existing: What to do if ``out`` already holds results: ``refuse``, ``replace``.
    """

    model: Path
    out: Path
    sizes: tuple[int, ...] = DEFAULT_SIZES
    repeats: int = 3
    tile_px: int | None = None
    overlap_px: int | None = None
    test_time: TestTime | None = None
    device: str = "auto"
    runtime: Runtime = "auto"
    precision: Arithmetic = "float32"
    existing: Existing = "refuse"

    def check(self) -> None:
        """Refuse settings that make no sense, and a folder that is not free.

        Raises:
            ConfigError: Naming the setting.
        """
        if is_baseline(str(self.model)):
            raise ConfigError(
                f"{self.model} has no network to be timed; name a model file, or a name that "
                "`changedet models` lists"
            )
        check_result_folder(self.out, marker=SPEED, existing=self.existing)
        if self.repeats < 1:
            raise ConfigError(f"`repeats` must be at least 1, got {self.repeats}")
        if not self.sizes:
            raise ConfigError("`sizes` must name at least one size")
        for size in self.sizes:
            if not SMALLEST_PX <= size <= LARGEST_PX:
                raise ConfigError(
                    f"`sizes` must lie between {SMALLEST_PX} and {LARGEST_PX} pixels, got {size}"
                )
