"""Count the scores of a model file as it is, and as another file of it will give them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from changedet.card import ModelCard
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelEncoding
from changedet.evaluation.calibration_request import CalibrationRequest
from changedet.evaluation.model_data import at_working_gsd
from changedet.inference.counting import ScoredPair
from changedet.inference.detector import Detector
from changedet.inference.score_source import source_of
from changedet.inference.torch_scorer import TorchScorer
from changedet.metrics.histogram import ScoreHistogram
from changedet.models.base import ChangeModel
from changedet.models.model_file import rounded_tensors
from changedet.types import Progress, TestTime


@dataclass(frozen=True)
class LabelledSet:
    """Labelled pairs that are scored alike.

    Attributes:
        pairs: The pairs.
        encoding: What the values of their labels mean.
        kind: Kind of change that is looked for; None: the model's first one.
        gsd_m: Ground sample distance of the images in metres; None: what their georeference says.
        name: Of the set, where there are several.
    """

    pairs: Sequence[LabelledPair]
    encoding: LabelEncoding
    kind: str | None = None
    gsd_m: float | None = None
    name: str | None = None


class Counts(NamedTuple):
    """Counts of one set.

    Attributes:
        before: Of the scores that the file gives as it is; the same as ``after`` where it has no
            threshold to judge.
        after: Of those that the new file will give.
    """

    before: ScoreHistogram
    after: ScoreHistogram


def count_as_stored(
    request: CalibrationRequest,
    model: ChangeModel,
    card: ModelCard,
    *,
    sets: Sequence[LabelledSet],
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> list[Counts]:
    """Score sets with a model as it is, and with rounded weights and other test-time views.

    Args:
        request: How the new file is to be used and stored.
        model: The network; it is left with the weights of the new file.
        card: Of the model as it is: the counts are exact at its thresholds.
        sets: What is scored.
        say: Gets sentences for the user.
        progress: Called after each pair.

    Returns:
        The counts of each set.

    Raises:
        DataError: If a pair or a label cannot be used.
    """
    test_time = request.test_time or card.test_time
    rounded = rounded_tensors(model, precision=request.precision)
    weights = model.state_dict()
    is_same = test_time == card.test_time and all(
        torch.equal(weights[name], value.to(weights[name])) for name, value in rounded.items()
    )
    judged = [not is_same and card.for_kind(one.kind).threshold is not None for one in sets]
    total = sum(
        (1 + is_judged) * len(one.pairs) for one, is_judged in zip(sets, judged, strict=True)
    )
    done = 0

    def count_up(_: ScoredPair) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    def count(one: LabelledSet, test_time: TestTime, say: Callable[[str], None]) -> ScoreHistogram:
        scorer = TorchScorer(
            model,
            card,
            device=request.device,
            test_time=test_time,
            kind=one.kind,
            source=str(request.model),
        )
        source = source_of(Detector(scorer, path=request.model))
        source, _ = at_working_gsd(source, one.pairs, given=one.gsd_m, say=say)
        return source.count(
            source.reader(one.encoding).read_ahead(one.pairs),
            mode=request.mode,
            batch_size=request.batch_size,
            on_score=count_up,
        )

    before = [
        count(one, card.test_time, lambda message: None) if is_judged else None
        for one, is_judged in zip(sets, judged, strict=True)
    ]
    model.load_state_dict(rounded)
    after = [count(one, test_time, partial(_say_of, say, one.name)) for one in sets]
    return [
        Counts(new if old is None else old, new) for old, new in zip(before, after, strict=True)
    ]


def _say_of(say: Callable[[str], None], name: str | None, message: str) -> None:
    say(message if name is None else f"{name}: {message}")
