"""What a model file holds besides its weights, read and checked without PyTorch."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from changedet._version import __version__
from changedet.card_format_1 import upgrade_card
from changedet.choices import check_choice, nearest
from changedet.domain import Domain
from changedet.errors import CheckpointError, ConfigError
from changedet.kinds import KindOfChange, check_kinds
from changedet.selection import Selection
from changedet.storage.atomic import write_bytes
from changedet.storage.text import first_few, is_file
from changedet.types import Normalisation, PixelType, Precision, TestTime

#: Version of the card's layout; a reader refuses newer ones.
FORMAT_VERSION = 2
#: Metadata keys of the card, the number of parameters and the type of the weights.
CARD_KEY = "changedet"
PARAMETERS_KEY = "parameters"
PRECISION_KEY = "precision"
#: Side of the largest tile that a network is trained on, in pixels.
LARGEST_TILE_PX = 4096
#: A band of a raster, counted from 1; no format holds more.
Band = Annotated[int, Ge(1), Le(65_535)]
#: Characters of the largest card that is read; cards of many scenes have some thousands.
_MOST_CHARACTERS = 16_000_000
# Digits of the largest number of parameters that is believed.
_LONGEST_COUNT = 18
_LENGTH_BYTES = 8
#: Name of the figures that a calibration adds to a card's metrics.
CALIBRATION = "calibration"
#: A zip archive (what torch.save writes), or a bare pickle of protocol 2 to 5 (older ones).
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


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


class _Scene(BaseModel):
    name: str
    before: str
    crs: str | None
    transform: tuple[float, float, float, float, float, float]
    training: list[tuple[int, int, int, int]]
    validation: list[tuple[int, int, int, int]]


class _Blocks(BaseModel):
    gap_px: int
    scenes: list[_Scene]


class _Label(BaseModel):
    kind: str | None = None
    changed: list[int]
    ignore_value: int | None = None


class _Recipe(BaseModel):
    data: dict[str, Any] = {}


class _FreeParts(BaseModel):
    """What the program reads inside those parts of a card that may hold anything."""

    label: _Label | None = None
    recipe: _Recipe | None = None
    blocks: _Blocks | None = None


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


def checked_name(path: str | Path) -> Path:
    """Let a path through that a model file may have.

    Raises:
        ConfigError: If it has another ending.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigError(f"a model file must end in .safetensors, got {path.name!r}; rename it")
    return path


def read_card(path: str | Path) -> ModelCard:
    """Read only what a model file says, not its weights.

    Raises:
        CheckpointError: If it is no model file, or is cut short.
    """
    path = Path(path)
    text = _metadata(path).get(CARD_KEY)
    if text is None:
        raise CheckpointError(
            f"{path} has tensors but no model card: not a changedet model; expected a file written "
            "by `changedet train` (to use it as encoder weights: `model.encoder_weights=FILE`)"
        )
    if len(text) > _MOST_CHARACTERS:
        raise _unreadable(path, f"it has {len(text):,} characters")
    try:
        return _card(json.loads(text))
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))[:200] or 'the card'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise _unreadable(path, first_few(faults, separator="; ")) from error
    except (ValueError, TypeError, KeyError, RecursionError, ConfigError) as error:
        raise _unreadable(path, str(error)) from error


def replace_card(source: Path, target: Path, card: ModelCard) -> None:
    """Write a model file again with another card; its tensors stay as they are, byte by byte.

    Args:
        source: The model file.
        target: The file to write, which may be the same.
        card: The new card; the network must be that of the file.

    Raises:
        CheckpointError: If ``source`` is no model file.
        StorageError: If ``target`` cannot be written.
    """
    read_card(source)
    content = source.read_bytes()
    # A safetensors file: the length of its header, the header as JSON, the tensors.
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES:start])
    stated = dataclasses.replace(card, format_version=FORMAT_VERSION)
    header["__metadata__"][CARD_KEY] = json.dumps(stated.to_dict(), allow_nan=False)
    text = json.dumps(header, separators=(",", ":")).encode()
    # Readers map the tensors into memory: they begin at a multiple of eight bytes.
    text += b" " * (-len(text) % _LENGTH_BYTES)
    length = len(text).to_bytes(_LENGTH_BYTES, "little")
    write_bytes(checked_name(target), length + text + content[start:])


def read_parameter_count(path: str | Path) -> int | None:
    """Return the number of trainable values that a model file states, None if it does not.

    Raises:
        CheckpointError: If it is no model file, or is cut short.
    """
    count = _metadata(Path(path)).get(PARAMETERS_KEY, "")
    return int(count) if count.isdecimal() and len(count) <= _LONGEST_COUNT else None


def read_precision(path: str | Path) -> str:
    """Return the type of the weights that a model file states; older files hold float32.

    Raises:
        CheckpointError: If it is no model file, is cut short, or there is no such type.
    """
    stated = _metadata(Path(path)).get(PRECISION_KEY, "float32")
    if stated not in get_args(Precision):
        raise _unreadable(Path(path), f"weights of the type {stated[:80]!r}")
    return stated


def _card(values: object) -> ModelCard:
    if isinstance(values, dict):
        version = values["format_version"]
        if version > FORMAT_VERSION:
            raise ValueError(
                f"its format {version} is newer than {FORMAT_VERSION}, "
                f"written by changedet {values.get('package_version')}"
            )
        if version == 1:
            values = upgrade_card(values)
    # As JSON again, in which a list may stand for a tuple without loosening anything else.
    text = json.dumps(values)
    card = _card_adapter().validate_json(text)
    _FreeParts.model_validate_json(text, strict=True)
    return card


@cache
def _card_adapter() -> TypeAdapter[ModelCard]:
    return TypeAdapter(ModelCard)


def _unreadable(path: Path, fault: str) -> CheckpointError:
    return CheckpointError(
        f"{path} has a model card that cannot be read ({fault}); update changedet, or write the "
        "file again"
    )


def _metadata(path: Path) -> Mapping[str, str]:
    with open_tensors(path) as file:
        return file.metadata() or {}


@contextmanager
def open_tensors(path: Path, *, framework: Literal["np", "pt"] = "np") -> Iterator[Any]:
    """Open a safetensors file, or say in one line what it is instead.

    Args:
        path: Of the file.
        framework: What its tensors are given as: NumPy arrays, or tensors of PyTorch.

    Raises:
        CheckpointError: If it is no whole safetensors file.
    """
    if not is_file(path):
        raise CheckpointError(
            f"there is no model file {path}; a training run saves its best one as "
            "RUN/best.safetensors"
        )
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file starts with the length of its JSON header, which may equal those bytes.
    if start.startswith(_PICKLE_STARTS) and not start.endswith(b"{"):
        raise CheckpointError(
            f"{path} is a pickle, which may run code and is never loaded; a public DASNet or "
            "DASNet-V2 checkpoint is turned into a model file with: "
            f"changedet convert {path} {path.with_suffix('.safetensors').name}"
        )
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file ({error}); copy or export it again"
        ) from error


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
