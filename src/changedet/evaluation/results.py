"""What ``metrics.json`` of an evaluation holds."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from changedet.data.labels.encoding import LabelEncoding
from changedet.data.rasters.provenance import Seen
from changedet.evaluation.object_figures import ObjectFigures
from changedet.inference.working_gsd import GsdMatch
from changedet.metrics.calibration import Calibration
from changedet.metrics.protocol import BestThresholdMetrics, FixedThresholdMetrics
from changedet.storage.results import (
    ByName,
    Figure,
    PlainJson,
    Record,
    Results,
    former_name,
)
from changedet.types import Mode, TestTime


@dataclass(frozen=True, kw_only=True)
class BestThresholdResult(BestThresholdMetrics):
    """Figures at the best of 96 thresholds, chosen on the very images that are reported.

    Attributes:
        note: What a reader must know.
    """

    note: str


@dataclass(frozen=True, kw_only=True)
class FixedThresholdResult(FixedThresholdMetrics):
    """Figures at a threshold that was chosen before.

    Attributes:
        threshold_source: Who chose it, if that is known.
    """

    threshold_source: str | None


class EvaluatedData(Record):
    """The data set.

    Attributes:
        name: Its name.
        root: Its folder, or the manifest of scenes.
        layout: How its files lie.
        benchmark: Name of the known benchmark it was read as, if it was named.
        label: What the values of its labels mean.
    """

    name: str
    root: str
    layout: str
    benchmark: str | None
    label: LabelEncoding


class EvaluationResults(Results):
    """A model or an untrained baseline, evaluated on one split of a data set.

    Attributes:
        version: Version of changedet that wrote the file.
        model: What was evaluated: a model file, or an untrained baseline.
        data: The data set.
        split: The split that is reported.
        threshold_split: The split that chose the threshold, if one did just now.
        images: Number of pairs.
        mode: How images larger than a tile were cut.
        tile_px: Height and width of a tile; null where images were scored whole.
        test_time: Views of a tile that were averaged.
        best_threshold: Figures at the best threshold of this very split, as in the DASNet papers.
        seen_blocks: How many blocks of scenes the model has met before, where that is known.
        fixed_threshold: Figures at a threshold chosen before; null if there is none to apply.
        reason: Why there are no figures at a fixed threshold.
        average_precision: Area under the precision-recall curve; null where undefined.
        roc_auc: Area under the ROC curve; null where undefined.
        calibration: How far the scores are from probabilities of change; null for untrained
            baselines and for models that compare embeddings, whose scores are none.
        pictures_threshold: Score from which pixels count as changed in the panels and per image.
        device: Where it was computed.
        seconds: How long scoring and counting took.
        change_kind: Kind of change that was looked for; null where the model names none.
        gsd: Ground sample distance of the images, and how they were resampled for the model.
        runtime: What computed the network: torch, onnx or openvino; null if there is none.
        objects: Figures of objects instead of pixels at the fixed threshold; null if there is none,
            or if it was only known once these images had been scored.
    """

    kind: Literal["evaluation"] = "evaluation"
    version: str
    model: PlainJson
    data: EvaluatedData
    split: str
    threshold_split: str | None
    images: int
    mode: Mode
    tile_px: int | None
    test_time: TestTime
    best_threshold: BestThresholdResult
    seen_blocks: Annotated[Seen, ByName()] | None
    fixed_threshold: FixedThresholdResult | None
    reason: str | None
    average_precision: Figure
    roc_auc: Figure
    calibration: Calibration | None = None
    pictures_threshold: float
    device: str
    seconds: float
    change_kind: str | None = None
    gsd: GsdMatch | None = None
    runtime: str | None = None
    objects: ObjectFigures | None = None

    seed: ClassVar[Any] = former_name("best_threshold", BestThresholdResult)
    honest: ClassVar[Any] = former_name("fixed_threshold", FixedThresholdResult | None)

    @classmethod
    def upgrade(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Take the figures of before there was a schema version by their present names."""
        content["best_threshold"] = content["seed"]
        content["fixed_threshold"] = content["honest"]
        return super().upgrade(content)
