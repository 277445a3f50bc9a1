"""What a model file holds besides its weights, without PyTorch."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, get_args

from annotated_types import Ge, Le, MaxLen
from pydantic import ConfigDict

from changedet._version import __version__
from changedet.choices import check_choice, nearest
from changedet.domain import Domain
from changedet.errors import ConfigError
from changedet.kinds import KindOfChange, check_kinds
from changedet.selection import Selection
from changedet.types import Normalisation, PixelType, TestTime

#: Version of the card's layout; a reader refuses newer ones.
FORMAT_VERSION = 2
#: Side of the largest tile that a network is trained on, in pixels.
LARGEST_TILE_PX = 4096
#: A band of a raster, counted from 1; no format holds more.
Band = Annotated[int, Ge(1), Le(65_535)]
#: Name of the figures that a calibration adds to a card's metrics.
CALIBRATION = "calibration"


@dataclass(frozen=True)
class ModelCard:
    """Everything that a model file holds besides its weights.

    Attributes:
        architecture: Name of the network, in the registry or ``ensemble``.
        options: What :func:`changedet.models.registry.rebuild_model` builds it from.
        normalisation: How stored pixel values become network input, bands included.
        pixel_type: Kind of the stored values that it was trained on: ``uint8``, ``uint16`` or
            ``float32`` (everything else); files written before there was a choice hold ``uint8``.
        tile_px: Tile size that the network was trained on, in pixels.
        threshold: Score in [0, 1] from which a pixel is changed; None if none was chosen.
        threshold_selection: How the threshold was chosen, if that is known.
        weights_selection: How these weights were chosen from those of the training, which stays
            when another threshold is chosen; several for an ensemble, empty if they were not, or
            the file does not say.
        test_time: Views of a tile whose scores are averaged, see
            :mod:`changedet.inference.views`; files written before there was a choice hold
            ``none``.
        label: How the training labels were encoded.
        metrics: Figures of merit, by name; an undefined one (NaN) becomes None in the file.
        data_name: What it was trained on.
        licence_note: Under which terms it may be used.
        recipe: The resolved configuration that trained it.
        blocks: Blocks of scenes that it was trained and its threshold chosen on, as
            :func:`changedet.data.rasters.provenance.record_blocks` gives them; None for pairs of
            files.
        source_bands: Bands of the rasters it was trained on, counted from 1, if they were chosen.
        source_bands_after: Those of the second date where they differ.
        domain: What the training images were like, as far as that is known; files written before
            it was stated hold none.
        kinds: The kinds of change that the network tells apart, in the order of its outputs, each
            with its own threshold; those of the first one stand in ``threshold`` as well. Empty:
            the network finds one kind, which it does not name.
        working_gsd_m: Smallest and largest ground sample distance at which the network works, in
            metres: images of another one are resampled for it. None: images are taken as they are.
        package_version: Of the package that wrote the file.
        format_version: Of the layout of the file that it was read from.

    Raises:
        ConfigError: If the threshold is no score, the tile has no size, or there is no such pixel
            type or test-time augmentation.
    """

    # How the values of a file are checked, those of the records inside the card included.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    architecture: Annotated[str, MaxLen(100)]
    options: dict[str, Any]
    normalisation: Normalisation
    pixel_type: PixelType = "uint8"
    tile_px: int = 256
    threshold: float | None = None
    threshold_selection: Selection | None = None
    weights_selection: tuple[Selection, ...] = ()
    test_time: TestTime = "none"
    label: dict[str, Any] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    data_name: Annotated[str, MaxLen(4_000)] | None = None
    licence_note: Annotated[str, MaxLen(100_000)] | None = None
    recipe: dict[str, Any] | None = None
    blocks: dict[str, Any] | None = None
    source_bands: tuple[Band, ...] | None = None
    source_bands_after: tuple[Band, ...] | None = None
    domain: Domain | None = None
    kinds: tuple[KindOfChange, ...] = ()
    working_gsd_m: tuple[float, float] | None = None
    package_version: Annotated[str, MaxLen(100)] = __version__
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_threshold(self.threshold)
        if not 1 <= self.tile_px <= LARGEST_TILE_PX:
            raise ConfigError(f"tile_px must be in [1, {LARGEST_TILE_PX}], got {self.tile_px}")
        check_choice("pixel_type", self.pixel_type, get_args(PixelType))
        check_choice("test_time", self.test_time, get_args(TestTime))
        if self.kinds:
            check_kinds([kind.name for kind in self.kinds])
        if self.working_gsd_m is not None:
            low, high = self.working_gsd_m
            if not (math.isfinite(high) and 0 < low <= high):
                raise ConfigError(
                    "working_gsd_m must be the smallest and the largest ground sample distance in "
                    f"metres, got {self.working_gsd_m}"
                )

    def kind_index(self, name: str | None) -> int:
        """Tell which output of the network finds a kind of change.

        Args:
            name: Of the kind; None: the first one.

        Raises:
            ConfigError: If the model does not know it.
        """
        if name is None:
            return 0
        names = [kind.name for kind in self.kinds]
        if not names:
            found = self.domain.change if self.domain is not None else None
            known = f" ({found})" if found else ""
            raise ConfigError(
                f"the model finds one kind of change{known}, which cannot be chosen; remove `kind`"
            )
        if name not in names:
            raise ConfigError(
                f"the model does not know the kind of change {name!r}; {nearest(name, names)}"
            )
        return names.index(name)

    def for_kind(self, name: str | None) -> "ModelCard":
        """Give the card with the threshold of one kind of change.

        Args:
            name: Of the kind; None: the first one, or the only one of a model without names.

        Raises:
            ConfigError: If the model does not know it.
        """
        index = self.kind_index(name)
        if not self.kinds:
            return self
        kind = self.kinds[index]
        return dataclasses.replace(
            self, threshold=kind.threshold, threshold_selection=kind.threshold_selection
        )

    def with_threshold(
        self, kind: str | None, threshold: float | None, selection: Selection | None
    ) -> "ModelCard":
        """Give the card another threshold of one kind of change; the other kinds keep theirs.

        Args:
            kind: Its name; None: the first one, or the only one of a model without names.
            threshold: Score in [0, 1] from which a pixel is changed.
            selection: How it was chosen.

        Raises:
            ConfigError: If the model does not know the kind.
        """
        index = self.kind_index(kind)
        kinds = list(self.kinds)
        if kinds:
            kinds[index] = dataclasses.replace(
                kinds[index], threshold=threshold, threshold_selection=selection
            )
        card = dataclasses.replace(self, kinds=tuple(kinds))
        if index > 0:
            return card
        return dataclasses.replace(card, threshold=threshold, threshold_selection=selection)

    def with_temperature(self, kind: str | None, temperature: float | None) -> "ModelCard":
        """Give one kind of change, of those that the card names, another temperature.

        Args:
            kind: Its name; None: the first one.
            temperature: What logits are divided by; None: it is not known.

        Raises:
            ConfigError: If the card does not name the kind, or the temperature is not positive.
        """
        kinds = list(self.kinds)
        index = self.kind_index(kind)
        kinds[index] = dataclasses.replace(kinds[index], temperature=temperature)
        return dataclasses.replace(self, kinds=tuple(kinds))

    @property
    def threshold_source(self) -> str | None:
        """How the threshold was chosen, as a sentence."""
        chosen = self.threshold_selection
        return None if chosen is None else chosen.describe()

    @property
    def selection_source(self) -> str | None:
        """How the weights were chosen, as a sentence; joined by semicolons for an ensemble."""
        return "; ".join(chosen.describe() for chosen in self.weights_selection) or None

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON-able values."""
        values = dataclasses.asdict(self)
        chosen = self.threshold_selection
        values["threshold_selection"] = None if chosen is None else chosen.to_dict()
        # Versions that do not know what is not stated read such a card.
        for name in ("domain", "kinds", "working_gsd_m"):
            if not values[name]:
                del values[name]
        if "domain" in values and not values["domain"]["sets"]:
            del values["domain"]["sets"]
        for entry, kind in zip(values.get("kinds", ()), self.kinds, strict=False):
            selection = kind.threshold_selection
            entry["threshold_selection"] = None if selection is None else selection.to_dict()
        values["weights_selection"] = [chosen.to_dict() for chosen in self.weights_selection]
        return {key: _without_nan(value) for key, value in values.items()}


def calibration_key(card: ModelCard, index: int) -> str:
    """Name the figures of a calibration in a card's metrics.

    Args:
        card: Of the model.
        index: Which of its kinds of change was calibrated; the further ones have names of their
            own.
    """
    return CALIBRATION if index == 0 else f"{CALIBRATION}_{card.kinds[index].name}"


def check_threshold(threshold: float) -> float:
    """Let a threshold through that is a score.

    Raises:
        ConfigError: If it is not in [0, 1].
    """
    if not 0.0 <= threshold <= 1.0:
        raise ConfigError(
            f"`threshold` must be a score in [0, 1], got {threshold:g}; a score is half the "
            "distance, so halve a distance to get it"
        )
    return threshold


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
