"""Who chose a threshold or the weights of a model, and on which images: data, and one sentence."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from changedet.errors import ConfigError
from changedet.types import Mode, Precision, TestTime

#: ``training``: the best validation of a training run; ``calibration``: `changedet calibrate`;
#: ``split``: the best F1 on a split, for one evaluation or benchmark; ``user``: a number that the
#: user gave; ``conversion``: likewise, when a public checkpoint was converted; ``otsu``: Otsu's
#: threshold of each image; ``otsu_scene``: Otsu's threshold of a whole scene; ``other``: known in
#: words only.
SelectionKind = Literal[
    "training", "calibration", "split", "user", "conversion", "otsu", "otsu_scene", "other"
]

_ON_IMAGES = ("data", "split", "images")
_REQUIRED: dict[str, tuple[str, ...]] = {
    "training": (*_ON_IMAGES, "epoch", "batch"),
    "calibration": (*_ON_IMAGES, "mode", "test_time", "precision"),
    "split": _ON_IMAGES,
    "other": ("text",),
}


@dataclass(frozen=True)
class Selection:
    """How a threshold or the weights of a model were chosen.

    Attributes:
        kind: Who or what chose, see :data:`SelectionKind`.
        data: Name of the data set whose images chose, as its index gives it.
        split: Name of the split that chose.
        images: Number of its images.
        epoch: Epoch after which the chosen weights were validated, counted from 1.
        batch: Batch of that epoch.
        mode: How images larger than a tile were scored.
        tile_px: Height and width of the tiles, where they are not the model's own.
        test_time: Views of a tile whose scores were averaged.
        precision: Type of the weights that gave the scores.
        text: Wording that takes the place of the sentence, from a file that says more than the
            fields above can hold.

    Raises:
        ConfigError: If there is no such kind, or a field is missing that it needs.
    """

    kind: SelectionKind
    data: str | None = None
    split: str | None = None
    images: int | None = None
    epoch: int | None = None
    batch: int | None = None
    mode: Mode | None = None
    tile_px: int | None = None
    test_time: TestTime | None = None
    precision: Precision | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        kinds = get_args(SelectionKind)
        if self.kind not in kinds:
            raise ConfigError(f"kind must be one of {', '.join(kinds)}, got {self.kind!r}")
        missing = [name for name in _REQUIRED.get(self.kind, ()) if getattr(self, name) is None]
        if missing:
            raise ConfigError(f"a selection of kind {self.kind} lacks {', '.join(missing)}")

    def describe(self) -> str:
        """Say it in a sentence for people; programs use the fields."""
        if self.text is not None:
            return self.text
        if self.kind == "user":
            return "set by the user"
        if self.kind == "conversion":
            return "set by the user when converted"
        if self.kind == "otsu":
            return "Otsu of each image"
        if self.kind == "otsu_scene":
            return "Otsu's threshold over the scene"
        plural = "" if self.images == 1 else "s"
        chosen = f"max-F1 on split {self.split!r} of {self.data} ({self.images} image{plural})"
        if self.kind == "training":
            return f"{chosen}, epoch {self.epoch}, batch {self.batch}"
        if self.kind == "calibration":
            return (
                f"{chosen}, calibrated with mode {self.mode}, "
                f"test-time augmentation {self.test_time}, {self.precision} weights"
            )
        if self.mode is None:
            return chosen
        if self.mode == "whole":
            return f"{chosen}, whole images"
        side = "" if self.tile_px is None else f"{self.tile_px} x {self.tile_px} "
        return f"{chosen}, {side}tiles side by side"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, as plain JSON types."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
