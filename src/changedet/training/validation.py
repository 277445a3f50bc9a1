"""Validation during training: score the validation split, draw heat maps, pack the model's file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from changedet._version import __version__
from changedet.card import ModelCard
from changedet.data.labelled import LabelledPair
from changedet.data.mixture import MixtureSet, by_set, member_of
from changedet.data.reading import PairReader
from changedet.inference.counting import OnScore, ScoredPair, count_scores
from changedet.inference.torch_scorer import TorchScorer
from changedet.kinds import ANY, KindOfChange
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import (
    TRAINING_SET_NOTE,
    best_threshold_metrics,
    choose_threshold,
)
from changedet.models.base import ChangeModel
from changedet.models.model_file import save_model
from changedet.rendering.heatmap import heatmap
from changedet.rendering.pictures import write_png
from changedet.selection import Selection
from changedet.storage.results import to_plain
from changedet.training.checkpoint import TrainingPosition
from changedet.training.config import (
    ExperimentConfig,
    TrainingConfig,
    dump_settings,
    tile_px,
    trains_on_validation,
)
from changedet.training.dataset_statistics import DatasetStatistics
from changedet.training.mixture_validation import judge_sets
from changedet.training.ranks import OneProcess, Ranks
from changedet.training.trainer import StopRequested, Validation


class RunValidator:
    """Score a model on the validation split; heat maps of some images go to ``folder``."""

    def __init__(
        self,
        model: ChangeModel,
        pairs: Sequence[LabelledPair],
        config: ExperimentConfig,
        *,
        facts: DatasetStatistics,
        device: torch.device,
        folder: Path,
        should_stop: Callable[[], bool],
        ranks: Ranks | None = None,
    ) -> None:
        """Keep what is validated on what.

        Args:
            model: What is scored with.
            pairs: The split.
            config: Settings of the training.
            facts: What was measured on its data.
            device: Where the model is.
            folder: Gets the heat maps.
            should_stop: Asked after every pair.
            ranks: The processes that train together. Each scores a share of the pairs, and all
                get the counts of all of them; one that is asked to stop stops all of them.
        """
        self.model = model
        self.pairs = pairs
        self.config = config
        self.facts = facts
        self.device = device
        self.folder = folder
        self.should_stop = should_stop
        self.ranks = OneProcess() if ranks is None else ranks

    def __call__(self, progress: TrainingPosition) -> Validation:
        """Score every pair of the split.

        Raises:
            StopRequested: If the run was asked to stop meanwhile.
            DataError: If a pair cannot be read, or the split has no changed pixel.
        """
        numbers = set(choose_heatmaps(len(self.pairs), self.config.training))
        drawn: dict[int, NDArray[np.float16]] = {}

        def keep(scored: ScoredPair) -> None:
            self._stop_if_asked()
            if scored.number in numbers:
                # Until the threshold is known; half precision is more than 256 colours need.
                drawn[scored.number] = scored.score.astype(np.float16)

        sets = by_set(self.pairs)
        if sets:
            counted = {
                name: self._count(places, member=member_of(self.pairs[places[0]]), on_score=keep)
                for name, places in sets.items()
            }
            result = judge_sets(counted, self._members(sets), self.config)
        else:
            result = judge(self._count(range(len(self.pairs)), member=None, on_score=keep))
        shares = self.ranks.gather(drawn)
        if self.ranks.is_main:
            folder = self.folder / f"{progress.epoch}_{progress.batch}_heatmaps"
            for number, score in sorted(item for share in shares for item in share.items()):
                name = self.pairs[number].name.replace("/", "_")
                write_png(folder / f"{name}.png", heatmap(score, threshold=result.threshold))
        return result

    def _stop_if_asked(self) -> None:
        if self.ranks.any(self.should_stop()):
            raise StopRequested

    def _count(
        self, places: Sequence[int], *, member: MixtureSet | None, on_score: OnScore
    ) -> ScoreHistogram:
        """Count the scores of some pairs: of the kind that their set labels, at its zoom.

        Whole batches are dealt to the processes in turn, so that batches hold the same pairs
        however many processes there are.
        """
        world = self.ranks.world
        size = max(8, self.config.training.batch_size // world)
        shares = [_share(places, size, rank=rank, world=world) for rank in range(world)]
        own = shares[self.ranks.rank]
        histogram = None
        if own:
            histogram = self._count_own(own, member=member, batch_size=size, on_score=on_score)
        # As often as the process that has most pairs: all ask each other at every pair.
        for _ in range(max(map(len, shares)) - len(own)):
            self._stop_if_asked()
        if world == 1 and histogram is not None:
            return histogram
        counted = [part for part in self.ranks.gather(histogram) if part is not None]
        order = np.argsort([place for share in shares for place in share])
        return reduce(ScoreHistogram.merge, counted).subset(order.tolist())

    def _count_own(
        self,
        places: Sequence[int],
        *,
        member: MixtureSet | None,
        batch_size: int,
        on_score: OnScore,
    ) -> ScoreHistogram:
        reader = PairReader(
            self.facts.label, self.config.model.in_channels, self.facts.normalisation
        )
        scorer = TorchScorer(
            self.model,
            describe_model(self.model, self.config, self.facts),
            device=self.device,
            source="the network in training",
            kind=None if member is None else member.kind,
        )
        zoom = self.facts.zoom_of(member, self.config.data.working_gsd_m)
        return count_scores(
            scorer.zoomed(zoom),
            reader.read_ahead([self.pairs[place] for place in places]),
            batch_size=batch_size,
            mode=self.config.data.evaluation,
            on_score=_renumbered(on_score, places),
        )

    def _members(self, sets: Mapping[str, Sequence[int]]) -> list[MixtureSet]:
        found = (member_of(self.pairs[places[0]]) for places in sets.values())
        return [member for member in found if member is not None]


def _share(places: Sequence[int], size: int, *, rank: int, world: int) -> list[int]:
    """Take the places that one of several processes counts: every N-th run of ``size`` of them."""
    starts = range(rank * size, len(places), world * size)
    return [place for start in starts for place in places[start : start + size]]


def _renumbered(on_score: OnScore, places: Sequence[int]) -> OnScore:
    """Tell of scores by the places that the pairs have among all."""
    return lambda scored: on_score(replace(scored, number=places[scored.number]))


def judge(histogram: ScoreHistogram) -> Validation:
    """Settle what a validation on one data set found.

    Raises:
        DataError: If no pixel has changed.
    """
    best = best_threshold_metrics(histogram)
    return Validation(histogram, best.max_f1, choose_threshold(histogram), best.roc_auc)


def choose_heatmaps(images: int, settings: TrainingConfig) -> list[int]:
    """Choose the images of the validation split that get a heat map, the same each time.

    Args:
        images: Images of the split.
        settings: How many images there are to each map, and how many maps at most.

    Returns:
        Their numbers from 0: every n-th, or as many as there may be, evenly spread over those.
    """
    every = list(range(0, images, settings.heatmap_every))
    most = settings.max_heatmaps
    if most is None or len(every) <= most:
        return every
    return [every[place * len(every) // most] for place in range(most)]


def describe_model(
    model: ChangeModel, config: ExperimentConfig, facts: DatasetStatistics
) -> ModelCard:
    """Say of a model in training all that does not change from one validation to the next."""
    # Where no kind is named, a model finds whatever its labels mark, and none can be asked for.
    is_named = facts.is_mixture or tuple(model.kinds) != (ANY,)
    return ModelCard(
        architecture=model.architecture,
        options=model.options,
        normalisation=facts.normalisation,
        pixel_type=facts.pixel_type,
        tile_px=tile_px(config),
        test_time=config.data.test_time,
        label=facts.label.to_dict(),
        data_name=facts.data_name,
        licence_note=" ".join(
            [
                "The weights are subject to the terms of the training data and of the encoder's "
                "weights.",
                *facts.terms,
            ]
        ),
        recipe=dump_settings(config),
        kinds=tuple(KindOfChange(name) for name in model.kinds) if is_named else (),
        working_gsd_m=config.data.working_gsd_m,
        blocks=facts.blocks,
        source_bands=facts.source_bands,
        source_bands_after=facts.source_bands_after,
        domain=facts.domain,
        package_version=__version__,
    )


def make_exporter(
    model: ChangeModel, config: ExperimentConfig, facts: DatasetStatistics
) -> Callable[[Path, Validation, TrainingPosition], None]:
    """Make the function that writes the model with all that is needed to use it."""

    def export(path: Path, result: Validation, progress: TrainingPosition) -> None:
        chosen = Selection(
            "training",
            data=facts.data_name,
            split=config.data.val_split,
            images=result.histogram.images,
            epoch=progress.epoch,
            batch=progress.batch,
        )
        card = describe_model(model, config, facts)
        figures = _figures(result)
        if trains_on_validation(config.data):
            # A threshold from training images would suit no others.
            card = replace(card, metrics={"validation": {**figures, "note": TRAINING_SET_NOTE}})
        else:
            kinds = tuple(replace(kind, threshold_selection=chosen) for kind in result.kinds)
            card = replace(card, weights_selection=(chosen,), metrics={"validation": figures})
            card = card.with_threshold(None, result.threshold, chosen)
            # A kind that no set validates has no threshold, also where it is the first one.
            card = replace(card, kinds=kinds) if kinds else card
        save_model(path, model, card)

    return export


def _figures(result: Validation) -> dict[str, Any]:
    figures: dict[str, Any] = to_plain(best_threshold_metrics(result.histogram))
    if not result.sets:
        return figures
    return {
        "mean_f1": result.f_score,
        "sets": {
            one.name: {
                "kind": one.kind,
                "f1": one.f1,
                "best_f1": one.best_f1,
                "images": one.histogram.images,
            }
            for one in result.sets
        },
    }
