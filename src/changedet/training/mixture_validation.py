"""What a validation on a mixture of data sets finds: a threshold for each kind, F1 for each set."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce

from changedet.data.mixture import MixtureSet
from changedet.errors import DataError
from changedet.kinds import KindOfChange
from changedet.metrics.calibration import recalibrated
from changedet.metrics.confusion import confusion_at
from changedet.metrics.curve import max_f1, roc_auc
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.shared_kind import settle_kind
from changedet.training.config import ExperimentConfig
from changedet.training.trainer import SetValidation, Validation


def judge_sets(
    counted: Mapping[str, ScoreHistogram],
    members: Sequence[MixtureSet],
    config: ExperimentConfig,
) -> Validation:
    """Settle temperature and threshold of each kind of change, and judge every set by its kind's.

    A set counts as much as any other of its kind, however many images it has.

    Args:
        counted: Counts of the scores that the network gives, of each set by its name.
        members: The sets, in the same order.
        config: Settings of the training: its kinds, and what chooses the best model.

    Raises:
        DataError: If no set has a changed pixel.
    """
    kinds_of_network: Sequence[str] = config.model.options().get("kinds", (members[0].kind,))
    kinds = tuple(
        settle_kind(name, [counted[one.name] for one in members if one.kind == name])
        for name in kinds_of_network
    )
    by_name = {kind.name: kind for kind in kinds}
    sets = tuple(_judge(one, counted[one.name], by_name[one.kind]) for one in members)
    scores = [one.f1 for one in sets if not math.isnan(one.f1)]
    if not scores:
        raise DataError(
            f"no validation pair of any set has a changed pixel (split {config.data.val_split!r}), "
            "so no model can be selected; put pairs with changes into it"
        )
    is_mean = config.training.select_by == "mean"
    everything = reduce(ScoreHistogram.merge, [one.histogram for one in sets])
    first = next(kind.threshold for kind in kinds if kind.threshold is not None)
    return Validation(
        everything,
        sum(scores) / len(scores) if is_mean else min(scores),
        kinds[0].threshold if kinds[0].threshold is not None else first,
        roc_auc(everything),
        sets=sets,
        kinds=kinds,
    )


def _judge(member: MixtureSet, histogram: ScoreHistogram, kind: KindOfChange) -> SetValidation:
    threshold = kind.threshold
    if kind.temperature is not None:
        histogram = recalibrated(histogram, kind.temperature)
    return SetValidation(
        member.name,
        member.kind,
        histogram,
        math.nan
        if threshold is None or not histogram.changed.any()
        else confusion_at(histogram, threshold).f1,
        max_f1(histogram).f1,
    )
