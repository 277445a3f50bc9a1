"""What the runs of an ablation say to each claim of its table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from changedet.ablation.estimates import (
    estimate_correlation,
    estimate_difference,
)
from changedet.ablation.learning import NO_BASELINE, Learning, learning_of
from changedet.ablation.results import AblationResults, RowResult, RunResult
from changedet.ablation.scores import FIGURES, Evaluation, Measure, Protocol
from changedet.ablation.table import (
    Claim,
    CostClaim,
    DifferenceClaim,
    HeatMapClaim,
    LossSpreadClaim,
    RankCorrelationClaim,
)
from changedet.ablation.verdict import (
    Finding,
    judge_at_most,
    judge_cleaner,
    judge_correlation,
    judge_difference,
    judge_lower,
    not_judged,
    not_run,
)

#: What may differ between two rows that are one experiment all the same.
_NAMES = ("name", "description")
_EPOCHS = "training.epochs"
#: Memory of one and the same run differs by about so much from time to time, as a share.
_MEMORY_NOISE = 0.02
_MEMORY = ("average_memory", "peak_memory")


@dataclass(frozen=True)
class ClaimResult:
    """A claim and what was found.

    Attributes:
        claim: The claim.
        protocol: Protocol under which it was tested; None where it is not about a split's scores.
        finding: The verdict.
        held_out: The held-out set on which it was tested; None: the split of the protocol.
    """

    claim: Claim
    protocol: Protocol | None
    finding: Finding
    held_out: str | None = None

    @property
    def where(self) -> str:
        """Where it was tested, in words."""
        return "-" if self.protocol is None else str(Evaluation(self.protocol, self.held_out))


def judge_claims(results: AblationResults) -> list[ClaimResult]:
    """Test every claim of the table; one about F1 or heat maps by each evaluation there is."""
    learning = learning_of(results)
    judged: list[ClaimResult] = []
    for claim in results.table.claims:
        if isinstance(claim, DifferenceClaim | HeatMapClaim):
            for evaluation in results.evaluations:
                finding = _compare(results, claim, evaluation)
                finding = _if_learned(finding, learning, claim.rows, evaluation=evaluation)
                judged.append(ClaimResult(claim, evaluation.protocol, finding, evaluation.held_out))
        else:
            judged.append(ClaimResult(claim, None, _other(results, claim)))
    return judged


def _if_learned(
    finding: Finding, learning: Learning, rows: Sequence[str], *, evaluation: Evaluation
) -> Finding:
    """Take back a verdict about rows that do not beat the untrained methods."""
    if finding.verdict == "not run":
        return finding
    fault = learning.fault(rows, evaluation)
    if fault is not None:
        return not_judged(finding, fault)
    if not learning.has_baseline(rows, evaluation):
        return replace(finding, why=f"{finding.why}; {NO_BASELINE}")
    return finding


def _other(
    results: AblationResults, claim: CostClaim | LossSpreadClaim | RankCorrelationClaim
) -> Finding:
    if isinstance(claim, CostClaim):
        return _lower_cost(results, claim)
    if isinstance(claim, LossSpreadClaim):
        return _spread(results, claim)
    return _correlation(results, claim)


def _compare(
    results: AblationResults, claim: DifferenceClaim | HeatMapClaim, evaluation: Evaluation
) -> Finding:
    rows = [results.row(name) for name in claim.rows]
    missing = _missing(rows) or _indistinct(*rows)
    if missing is not None:
        return not_run(missing)
    measure: Measure = claim.quantity if isinstance(claim, HeatMapClaim) else "f1"
    ours, theirs = (row.sums(evaluation, measure) for row in rows)
    if not ours or not theirs:
        return not_run("one of the rows was not evaluated on this split")
    if len({len(sums) for sums in (*ours, *theirs)}) > 1:
        return not_run(
            'the rows were evaluated on different images; run them again with `mode="overwrite"`'
        )
    figure = FIGURES[measure]
    measured = estimate_difference(ours, theirs, figure)
    if isinstance(claim, DifferenceClaim):
        return judge_difference(measured, claim.difference, epochs=_epochs(rows))
    means = [sum(map(figure.pooled, side)) / len(side) for side in (ours, theirs)]
    return judge_cleaner(measured, claim.quantity, ours=means[0], theirs=means[1])


def _epochs(rows: Sequence[RowResult]) -> tuple[int, ...]:
    """Epochs that each row was trained for, the longest of its runs."""
    return tuple(max(run.logs.epochs for run in row.runs) for row in rows)


def _lower_cost(results: AblationResults, claim: CostClaim) -> Finding:
    rows = [results.row(name) for name in claim.rows]
    missing = _missing(rows)
    if missing is not None:
        return not_run(missing)
    read, unit = _QUANTITIES[claim.quantity]
    ours, theirs = ([read(run) for run in row.runs] for row in rows)
    known = [value for value in (*ours, *theirs) if value is not None]
    if len(known) < len(ours) + len(theirs):
        return not_run(f"{claim.quantity} of a run is not known")
    costs = known[: len(ours)], known[len(ours) :]
    if claim.quantity not in _MEMORY:
        return judge_lower(*costs, unit=unit)
    if len({run.resources.memory for row in rows for run in row.runs}) > 1:
        return not_run("some runs were on a GPU, others were not")
    finding = judge_lower(*costs, unit=unit, tolerance=_MEMORY_NOISE)
    batches = [row.runs[0].config.training.batch_size for row in rows]
    if batches[0] == batches[1]:
        return finding
    return replace(finding, why=f"{finding.why}; with batches of {batches[0]} and {batches[1]}")


_QUANTITIES: dict[str, tuple[Callable[[RunResult], float | None], str]] = {
    "parameters": (lambda run: _scaled(run.judgement.parameters, 1e6), "million"),
    "gflop": (lambda run: run.judgement.gflop, "GFLOP"),
    "average_memory": (lambda run: _scaled(run.resources.average_bytes, 1e9), "GB"),
    "peak_memory": (lambda run: _scaled(run.resources.peak_bytes, 1e9), "GB"),
}


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _spread(results: AblationResults, claim: LossSpreadClaim) -> Finding:
    row = results.row(claim.row)
    missing = _missing([row])
    if missing is not None:
        return not_run(missing)
    spreads = [run.loss_spread for run in row.runs]
    if any(spread != spread for spread in spreads):
        return not_run(f"row {row.row.name} has fewer than two loss terms")
    return judge_at_most(spreads, claim.at_most)


def _correlation(results: AblationResults, claim: RankCorrelationClaim) -> Finding:
    names = claim.rows or tuple(row.row.name for row in results.rows)
    runs = [run for name in names for run in results.row(name).runs]
    if not runs:
        return not_run("none of the rows has a finished run")
    validations = [(run.logs.max_f1, run.logs.roc_auc) for run in runs]
    return judge_correlation(estimate_correlation(validations))


def _missing(rows: Sequence[RowResult]) -> str | None:
    return next((row.absence() for row in rows if not row.runs), None)


def _indistinct(row: RowResult, against: RowResult) -> str | None:
    """Say why a difference of two rows would show nothing of what it is claimed for."""
    ours, theirs = (_decisive(side.runs[0]) for side in (row, against))
    changed = [key for key in ours if ours[key] != theirs.get(key)]
    if not changed:
        return "both rows have the same settings, by the budget or by what was set for all rows"
    runs = (*row.runs, *against.runs)
    if changed == [_EPOCHS] and any(run.resources.state == "budget spent" for run in runs):
        return "the rows differ in epochs alone, and the budget in minutes ended one of them before"
    return None


def _decisive(run: RunResult) -> dict[str, Any]:
    tree = run.config.model_dump(mode="json", exclude=set(_NAMES))
    flat = {
        f"{section}.{key}": value for section, part in tree.items() for key, value in part.items()
    }
    del flat["training.seed"]
    return flat
