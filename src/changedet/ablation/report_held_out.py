"""What the report of an ablation shows of held-out sets: places that no row has seen."""

from collections.abc import Sequence

from changedet.ablation.estimates import LEVEL, Estimate
from changedet.ablation.results import AblationResults, mean
from changedet.ablation.scoring import Evaluation, SplitScore
from changedet.rendering.page import Cell, Table


def held_out_tables(results: AblationResults) -> list[Table]:
    """Show for each held-out set how well every row and untrained method does there."""
    return [_table(results, name) for name in results.held_out]


def interval_text(estimate: Estimate) -> str | None:
    """Write an interval as figures of a table; None where there is none."""
    if not estimate.low <= estimate.high:
        return None
    return f"{estimate.low:.4f} to {estimate.high:.4f}"


def _table(results: AblationResults, name: str) -> Table:
    interval = f"{100 * LEVEL:.0f} % interval"
    stored, best = Evaluation("fixed_threshold", name), Evaluation("best_threshold", name)
    rows: list[list[Cell]] = []
    for row in results.asked_rows:
        cells: list[Cell] = [row.row.title]
        for one in (stored, best):
            cells += _f1_cells(row.estimate(one.protocol, held_out=name))
        rows.append([*cells, *_further_cells(row.scores(best))])
    for baseline in results.baselines:
        if baseline.judgement is None:
            continue
        scores = [baseline.judgement.score(one) for one in (stored, best)]
        cells = [f"untrained: {baseline.judgement.title}"]
        for score in scores:
            cells += _f1_cells(None if score is None else score.estimate())
        rows.append([*cells, *_further_cells([score for score in scores[1:] if score])])
    return Table(
        f"Held-out set {name}",
        ["row", "F1, stored threshold", interval, "max-F1", interval, "AP", "images"],
        rows,
        note="No row was trained on this set, and it chose neither models nor thresholds. F1 at "
        "the stored threshold, which the other sets chose, is what a user would get there; max-F1, "
        "at the best threshold on these very images, and AP (average precision) tell how well the "
        "scores separate both classes. Mean over the seeds.",
    )


def _f1_cells(estimate: Estimate | None) -> list[Cell]:
    return [None, None] if estimate is None else [estimate.mean, interval_text(estimate)]


def _further_cells(scores: Sequence[SplitScore]) -> list[Cell]:
    if not scores:
        return [None, None]
    return [mean([score.average_precision for score in scores]), scores[0].images]
