"""Which networks of which model files are put together, told from their cards; no PyTorch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from changedet.card import CALIBRATION, ModelCard, read_card, read_precision
from changedet.data.seen import DATA_SETS
from changedet.errors import ConfigError
from changedet.kinds import KindOfChange, check_kind
from changedet.model_search import find_model
from changedet.models.options import ENSEMBLE, OPTIONS, kinds_of, networks_of, option_names
from changedet.types import Precision


@dataclass(frozen=True, eq=False)
class Source:
    """A model file, and which of its networks are taken.

    Attributes:
        path: The file.
        card: Its card, with the kind of change that the user named where it names none.
        kinds: The kinds of change of each of its networks.
        kept: Places of the networks that are taken.
        named: The kind of change that the user named for it, if any.
        precision: Type of its weights.
    """

    path: Path
    card: ModelCard
    kinds: tuple[tuple[str, ...], ...]
    kept: tuple[int, ...]
    named: str | None
    precision: Precision

    @property
    def is_ensemble(self) -> bool:
        """Whether it holds several networks."""
        return self.card.architecture == ENSEMBLE

    @property
    def is_whole(self) -> bool:
        """Whether all of its networks are taken."""
        return len(self.kept) == len(self.kinds)

    def finds(self, kind: str) -> bool:
        """Tell whether a network that is taken knows a kind of change."""
        return any(kind in self.kinds[place] for place in self.kept)

    def scores_alike(self, kind: str) -> bool:
        """Tell whether all networks are taken that score a kind of change in the file."""
        return all(place in self.kept for place, names in enumerate(self.kinds) if kind in names)

    def label(self, place: int) -> str:
        """Name one of its networks for a message."""
        return f"network {place + 1} of {self.path}" if self.is_ensemble else str(self.path)


def plan_ensemble(
    models: Sequence[str | Path],
    *,
    keep: Sequence[int] | None = None,
    kind: str | None = None,
) -> tuple[Source, ...]:
    """Read the cards of models that are to be put together, and refuse what cannot be.

    Args:
        models: See :func:`changedet.evaluation.ensemble.build_ensemble`, as the next two.
        keep: See above.
        kind: See above.

    Raises:
        ConfigError: If there is nothing to put together or to change, ``keep`` names no networks of
            one ensemble, ``kind`` is not needed, or is missing.
        CheckpointError: If a model file cannot be used.
    """
    sources = [_read(find_model(model)) for model in models]
    if keep is not None:
        if len(sources) > 1:
            raise ConfigError(
                f"`keep` takes networks out of one ensemble, got {len(sources)} models; take them "
                "out into a file of their own first"
            )
        sources = [_with_kept(source, keep) for source in sources]
    elif kind is None and len(sources) == 1:
        raise ConfigError(
            "an ensemble needs two models or more, got 1; give more, choose networks of an "
            "ensemble (`keep`), or name the kind of change that the model finds (`kind`)"
        )
    if kind is not None:
        sources = _with_kind(sources, check_kind(kind))
    _check_named(sources)
    return tuple(sources)


def _read(path: Path) -> Source:
    card = read_card(path)
    kinds = tuple(kinds_of(options) for _, options in networks_of(card.architecture, card.options))
    precision = cast("Precision", read_precision(path))
    return Source(path, card, kinds, tuple(range(len(kinds))), None, precision)


def _with_kept(source: Source, numbers: Sequence[int]) -> Source:
    if not source.is_ensemble:
        raise ConfigError(
            f"{source.path} is a single network, of which nothing can be chosen; remove `keep`"
        )
    count = len(source.kinds)
    wrong = [number for number, times in Counter(numbers).items() if times > 1]
    wrong += [number for number in numbers if not 1 <= number <= count]
    if wrong or not numbers:
        got = f"got {', '.join(map(str, numbers)) or 'none'}"
        raise ConfigError(
            f"{source.path} has the networks 1 to {count}; `keep` takes some of them, each named "
            f"once, {got}"
        )
    return replace(source, kept=tuple(sorted(number - 1 for number in numbers)))


def _with_kind(sources: Iterable[Source], kind: str) -> list[Source]:
    """Name the kind of change of those models that name none.

    Raises:
        ConfigError: If all name one, or a network cannot.
    """
    sources = list(sources)
    if all(source.card.kinds for source in sources):
        known = dict.fromkeys(one.name for source in sources for one in source.card.kinds)
        raise ConfigError(
            f"all models name the kinds of change that they find ({', '.join(known)}); `kind` "
            "names that of models which do not: remove it"
        )
    return [source if source.card.kinds else _named(source, kind) for source in sources]


def _named(source: Source, kind: str) -> Source:
    card = source.card
    for name, _ in networks_of(card.architecture, card.options):
        if name in OPTIONS and "kinds" not in option_names(OPTIONS[name]):
            raise ConfigError(
                f"{source.path} holds a network ({name}) that compares embeddings and cannot name "
                "the kind of change that it finds; leave it out"
            )
    only = KindOfChange(kind, card.threshold, card.threshold_selection)
    return replace(
        source,
        card=replace(card, kinds=(only,)),
        kinds=((kind,),) * len(source.kinds),
        named=kind,
    )


def _check_named(sources: Sequence[Source]) -> None:
    """A model that names no kind cannot say that it finds another one than the others."""
    known = dict.fromkeys(kind for source in sources for names in source.kinds for kind in names)
    unnamed = [source for source in sources if not source.card.kinds]
    if unnamed and len(known) > 1:
        raise ConfigError(
            f"{unnamed[0].path} does not name the kind of change that it finds, and others do "
            f"({', '.join(one.name for source in sources for one in source.card.kinds)}); say "
            "which one it is (`kind`)"
        )


def card_of_network(source: Source, place: int) -> ModelCard:
    """Give the card of one network of a file, which is the file's own if it holds no other.

    How each member of an ensemble was chosen is not told apart, so all of that is kept. A kind of
    change that only this network scores keeps its threshold and temperature.

    Args:
        source: The file.
        place: Of the network.
    """
    card = source.card
    if not source.is_ensemble:
        return card
    architecture, options = networks_of(card.architecture, card.options)[place]
    recipe = card.recipe or {}
    own = _at(recipe.get("members"), place) or {"data": recipe.get("data", {})}
    trained_on = _at(recipe.get(DATA_SETS), place)
    metrics = _at(card.metrics.get("members"), place) or {}
    return with_kinds(
        replace(
            card,
            architecture=architecture,
            options=dict(options),
            metrics=without_calibrations(metrics),
            recipe=own,
            data_name=card.data_name if trained_on is None else trained_on.get("name"),
        ),
        tuple(
            kind
            if sum(kind.name in names for names in source.kinds) == 1
            else KindOfChange(kind.name)
            for kind in card.kinds
            if kind.name in source.kinds[place]
        ),
    )


def with_kinds(card: ModelCard, kinds: tuple[KindOfChange, ...]) -> ModelCard:
    """Give a card its kinds of change, and the threshold of the first; none: no threshold."""
    first = kinds[0] if kinds else KindOfChange("any")
    return replace(
        card,
        kinds=kinds,
        threshold=first.threshold,
        threshold_selection=first.threshold_selection,
    )


def without_calibrations(metrics: dict[str, Any]) -> dict[str, Any]:
    """Leave out the figures of calibrations, which are of one threshold and its scores."""
    return {
        name: value
        for name, value in metrics.items()
        if name != CALIBRATION and not name.startswith(f"{CALIBRATION}_")
    }


def _at(values: object, place: int) -> Any:  # noqa: ANN401  # a card may say anything
    found = values[place] if isinstance(values, list) and place < len(values) else None
    return found if isinstance(found, dict) else None
