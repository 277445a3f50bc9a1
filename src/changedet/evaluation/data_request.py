"""What every measurement on a labelled data set can be asked; no PyTorch."""

from dataclasses import dataclass

from changedet.storage.output_folder import Existing
from changedet.storage.paths import PathFields
from changedet.types import TestTime


@dataclass(frozen=True, kw_only=True)
class DataRequest(PathFields):
    """How a data set is read and scored, whatever is measured on it.

    Attributes:
        benchmark: Name of a known benchmark; None: the layout is found out.
        test_time: Test-time augmentation; None: the one stored with the model.
        kind: Kind of change to find, of those that the model tells apart; None: its first one.
        gsd_m: Side of a pixel on the ground in metres, for models that state at which ones they
            work; None: what the georeference of the images says.
        batch_size: Tiles that go through a model at once.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        ignore_value: Label value whose pixels are ignored.
        changed_values: Label values that mean changed, where the labels do not say it themselves.
        bands: Bands of rasters, from 1, in the model's order; None: those of the training, or all
            that hold no mask.
        bands_after: Those of the second date where they differ.
        existing: What to do if ``out`` already holds results: ``refuse``, ``replace``.
    """

    benchmark: str | None = None
    test_time: TestTime | None = None
    kind: str | None = None
    gsd_m: float | None = None
    batch_size: int = 8
    device: str = "auto"
    ignore_value: int | None = None
    changed_values: tuple[int, ...] | None = None
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    existing: Existing = "refuse"
