"""What ``results.json`` of an ablation holds."""

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from changedet.ablation.estimates import Estimate
from changedet.ablation.resources import Resources
from changedet.ablation.run_state import FORMER_PROTOCOLS, RunState
from changedet.ablation.scores import Protocol
from changedet.ablation.verdict import Verdict
from changedet.storage.results import Figure, Record, Results, former_name


class ScoreFigures(Record):
    """Figures of one source under one protocol; null where undefined.

    Attributes:
        protocol: Whether at the best or at a fixed threshold.
        split: The split that is evaluated.
        threshold: Score from which on a pixel counts as changed.
        precision: Precision.
        recall: Recall.
        average_precision: Area under the precision-recall curve.
        roc_auc: Area under the ROC curve.
        note: What a reader must know.
        images: Number of images.
        f1: F1 of all images together.
        interval: Bootstrap interval of F1 over images.
    """

    protocol: Protocol
    split: str
    threshold: Figure
    precision: Figure
    recall: Figure
    average_precision: Figure
    roc_auc: Figure
    note: str | None
    images: int
    f1: Figure
    interval: tuple[Figure, Figure]


class RunScores(Record):
    """Figures of a run by protocol.

    Attributes:
        best_threshold: At the best threshold of the validation split, optimistic.
        fixed_threshold: At the threshold that validation chose, on the test split; null without.
    """

    best_threshold: ScoreFigures | None = None
    fixed_threshold: ScoreFigures | None = None
    seed: ClassVar[Any] = former_name("best_threshold", ScoreFigures | None)
    honest: ClassVar[Any] = former_name("fixed_threshold", ScoreFigures | None)


class HeldOutFigures(Record):
    """F1 on the validation split of a held-out set of a mixture.

    Attributes:
        best_threshold: At the best threshold on these images; null if it was not evaluated.
        fixed_threshold: At the threshold that the other sets chose; null likewise.
        average_precision: Mean area under the precision-recall curve.
    """

    best_threshold: Estimate | None
    fixed_threshold: Estimate | None
    average_precision: Figure


class RunFigures(RunState):
    """A run that was trained and evaluated.

    Attributes:
        scores: Figures by protocol.
        held_out: The same for each held-out set of a mixture.
        parameters: Trained values of the network.
        gflop: 10^9 operations for a 256 x 256 pair.
        epochs: Epochs that were begun.
        best_epoch: Epoch in which the best validation was, counted from 1.
        best_batch: Batches of it that were done.
        validations: Number of validations.
        resources: What the training took.
        pairs_per_second: Training speed, if it could be measured.
        loss_spread: How far the loss terms lie apart; null with one term.
    """

    scores: RunScores
    held_out: dict[str, RunScores] = Field(default_factory=dict)
    parameters: int | None
    gflop: float | None
    epochs: int
    best_epoch: int | None = None
    best_batch: int | None = None
    validations: int
    resources: Resources
    pairs_per_second: float | None
    loss_spread: Figure


class HeatMapFigures(Record):
    """How clean the heat maps of the validation split are.

    Attributes:
        false_positive_objects: Found objects of an image without a pixel labelled changed.
        contrast: Difference of the mean scores of both classes over their mean standard deviation.
    """

    false_positive_objects: Estimate | None
    contrast: Estimate | None
    blotches: ClassVar[Any] = former_name("false_positive_objects", Estimate | None)


class RowFigures(Record):
    """A row of the table, estimated from its runs.

    Attributes:
        name: Short name of the row.
        title: Its name for readers.
        note: What a reader should know.
        published: Max-F1 that its authors report, on data of their own; null: not known.
        best_threshold: Max-F1 on the validation split, optimistic; null without a run.
        fixed_threshold: F1 on the test split; null without a run or such a split.
        held_out: F1 on each held-out set of a mixture.
        heat_maps: How clean the heat maps are.
        rank_correlation: Of max-F1 and ROC-AUC over the validations of its runs.
        loss_spread: How far the loss terms lie apart; null with one term.
        runs: Its evaluated runs, by seed.
        open: Its other runs: begun, or failed.
    """

    name: str
    title: str
    note: str
    published: float | None = None
    best_threshold: Estimate | None = None
    fixed_threshold: Estimate | None = None
    held_out: dict[str, HeldOutFigures] = Field(default_factory=dict)
    heat_maps: HeatMapFigures
    rank_correlation: Estimate
    loss_spread: Figure
    runs: tuple[RunFigures, ...]
    open: tuple[RunState, ...]
    seed: ClassVar[Any] = former_name("best_threshold", Estimate | None)
    honest: ClassVar[Any] = former_name("fixed_threshold", Estimate | None)


class BaselineEstimate(Record):
    """F1 of an untrained baseline.

    Attributes:
        mean: F1.
        std: Null, as there are no seeds.
        low: Lower end of its bootstrap interval over images.
        high: Upper end.
        seeds: 1.
        threshold: Score from which on a pixel counts as changed.
    """

    mean: Figure
    std: float | None
    low: Figure
    high: Figure
    seeds: int
    threshold: Figure


class BaselineFigures(Record):
    """An untrained baseline.

    Attributes:
        name: Its name.
        reason: Why it could not be evaluated.
        best_threshold: On the validation split, optimistic; null if it could not be evaluated.
        fixed_threshold: On the test split; null if it could not be evaluated there.
        held_out: On each held-out set of a mixture.
        heat_maps: How clean its heat maps are; null if it could not be evaluated.
    """

    name: str
    reason: str | None
    best_threshold: BaselineEstimate | None = None
    fixed_threshold: BaselineEstimate | None = None
    held_out: dict[str, HeldOutFigures] = Field(default_factory=dict)
    heat_maps: HeatMapFigures | None = None
    seed: ClassVar[Any] = former_name("best_threshold", BaselineEstimate | None)
    honest: ClassVar[Any] = former_name("fixed_threshold", BaselineEstimate | None)


class ClaimFigures(Record):
    """A claim of the table and what was found; further keys are those of its kind.

    Attributes:
        kind: Kind of the claim.
        text: The claim in words.
        protocol: Protocol under which it was tested; null where it is not about a split's scores.
        held_out: The held-out set on which it was tested; null: the split of the protocol.
        verdict: Whether it holds.
        why: The figures behind the verdict, or why there are none.
        measured: The estimate behind it, if there is one.
    """

    model_config = ConfigDict(extra="allow")

    kind: str
    text: str
    protocol: Protocol | None
    held_out: str | None = None
    verdict: Verdict
    why: str
    measured: Estimate | None


class AblationFindings(Results):
    """What an ablation found.

    Attributes:
        title: Title of the table.
        command: Commands that made it, one per line.
        data: Folder of the data set.
        val_split: Split that chooses models and thresholds.
        test_split: Split that is evaluated at a fixed threshold, if there is one.
        held_out: Sets of a mixture that no row was trained on.
        notes: What a reader must know of the data.
        problems: What went wrong.
        rows: The rows of the table.
        baselines: The baselines.
        claims: The claims of the table; one about F1 or heat maps once for each protocol,
            and on each held-out set.
    """

    kind: Literal["ablation"] = "ablation"
    title: str
    command: str
    data: str
    val_split: str
    test_split: str | None
    held_out: tuple[str, ...] = ()
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    rows: tuple[RowFigures, ...]
    baselines: tuple[BaselineFigures, ...]
    claims: tuple[ClaimFigures, ...]
    floors: ClassVar[Any] = former_name("baselines", tuple[BaselineFigures, ...])

    @classmethod
    def upgrade(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Take everything of before there was a schema version by its present name."""
        content["baselines"] = content["floors"]
        for part in (*content["rows"], *content["baselines"]):
            _upgrade_protocols(part)
            if "heat_maps" in part:
                part["heat_maps"]["false_positive_objects"] = part["heat_maps"]["blotches"]
            for run in part.get("runs", ()):
                _upgrade_protocols(run["scores"])
                for score in run["scores"].values():
                    score["protocol"] = FORMER_PROTOCOLS.get(score["protocol"], score["protocol"])
        for claim in content["claims"]:
            claim["protocol"] = FORMER_PROTOCOLS.get(claim["protocol"], claim["protocol"])
            if claim.get("quantity") == "blotches":
                claim["quantity"] = "false_positive_objects"
        return super().upgrade(content)


def _upgrade_protocols(part: dict[str, Any]) -> None:
    for former, present in FORMER_PROTOCOLS.items():
        if former in part:
            part[present] = part[former]
