"""Every kind of result file, its published schema, and one reader for all of them."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from changedet.choices import nearest
from changedet.errors import ConfigError, ResultsError
from changedet.storage.results import Results, json_schema, read_content

#: The model of each kind, as module and class, imported when it is needed.
KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "scene": ("changedet.predict.summary", "SceneSummary"),
    "images": ("changedet.predict.summary", "ImagesSummary"),
    "image_pair": ("changedet.predict.summary", "ImagePairSummary"),
    "evaluation": ("changedet.evaluation.results", "EvaluationResults"),
    "mixture_evaluation": ("changedet.evaluation.mixture_results", "MixtureEvaluationResults"),
    "training": ("changedet.training.dataset_statistics", "TrainingRecord"),
    "validation": ("changedet.training.logs", "ValidationResults"),
    "ablation": ("changedet.ablation.report_data", "AblationFindings"),
    "ablation_plan": ("changedet.ablation.results", "AblationPlanRecord"),
    "ablation_run": ("changedet.ablation.run_state", "RunRecord"),
    "ablation_judgement": ("changedet.ablation.run_state", "Judgement"),
    "ablation_resources": ("changedet.ablation.resources", "ResourcesFile"),
    "accuracy": ("changedet.evaluation.benchmark.results", "AccuracyResults"),
    "gsd_curve": ("changedet.evaluation.gsd_curve.results", "GsdCurveResults"),
    "speed": ("changedet.speed.results", "SpeedResults"),
}
#: Keys by which files are known that were written before there was a ``kind``.
_SIGNATURES: Final[Mapping[str, frozenset[str]]] = {
    "scene": frozenset({"grid", "inputs", "polygons"}),
    "images": frozenset({"images", "pairs", "threshold"}),
    "image_pair": frozenset({"changed_share", "width", "tile_px"}),
    "training": frozenset({"data_name", "normalisation", "torch_version"}),
    "validation": frozenset({"best_f_score", "stored_threshold"}),
    "ablation": frozenset({"rows", "floors", "claims"}),
    "ablation_plan": frozenset({"table", "splits", "commands"}),
    "ablation_run": frozenset({"row", "status", "settings"}),
    "ablation_judgement": frozenset({"scores", "gflop"}),
    "ablation_resources": frozenset({"training_seconds", "peak_bytes"}),
    "accuracy": frozenset({"methods", "near_duplicates", "origin"}),
    "evaluation": frozenset({"seed", "honest", "pictures_threshold"}),
}


def list_kinds() -> list[str]:
    """Names of the kinds of result files."""
    return list(KINDS)


def results_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of result file.

    Raises:
        ConfigError: If there is no such kind.
    """
    if kind not in KINDS:
        hint = nearest(kind, list(KINDS))
        raise ConfigError(f"result files of kind {kind!r} do not exist; {hint}")
    return json_schema(_model(kind))


def read_results(path: str | Path) -> Results:
    """Read any result file of this package.

    Args:
        path: A ``summary.json``, ``metrics.json``, ``accuracy.json``, ``results.json``,
            ``run.json`` or another file that ``changedet schema`` lists.

    Returns:
        The model of its ``kind``, such as :class:`changedet.predict.summary.SceneSummary`. Files
        that were written before there were kinds are read as well.

    Raises:
        ResultsError: If the file is missing, damaged, of another kind or of a newer version.
    """
    path = Path(path)
    content = read_content(path)
    guess = next((kind for kind, keys in _SIGNATURES.items() if keys <= content.keys()), None)
    kind = content.get("kind") or guess
    if not isinstance(kind, str) or kind not in KINDS:
        known = "no changedet results" if kind is None else f"results of an unknown kind {kind!r}"
        raise ResultsError(f"{path} contains {known}; known kinds are: {', '.join(KINDS)}")
    return _model(kind).from_content(content, path=path)


def _model(kind: str) -> type[Results]:
    module, name = KINDS[kind]
    model: type[Results] = getattr(import_module(module), name)
    return model
