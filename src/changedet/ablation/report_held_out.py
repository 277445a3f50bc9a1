"""What the report of an ablation shows of held-out sets: places that no row has seen."""

from collections.abc import Sequence

from changedet.ablation.estimates import LEVEL, Estimate
from changedet.ablation.results import AblationResults, mean
from changedet.ablation.scores import Evaluation, Protocol, SplitScore
from changedet.rendering.page import Cell, Interval, Table

#: What a user would get, then what the scores would allow.
_PROTOCOLS: tuple[Protocol, ...] = ("fixed_threshold", "best_threshold")


def held_out_tables(results: AblationResults) -> list[Table]:
    """Show how well every row and untrained method does on each held-out set, and on average."""
    together = [_means(results)] if len(results.held_out) > 1 else []
    return [*together, *(_table(results, name) for name in results.held_out)]


def _means(results: AblationResults) -> Table:
    rows: list[list[Cell]] = []
    for row in results.asked_rows:
        cells: list[Cell] = [row.row.title]
        for protocol in _PROTOCOLS:
            found = [row.estimate(protocol, held_out=name) for name in results.held_out]
            known = [one.mean for one in found if one is not None]
            # A mean over other sets than the next row's would compare nothing.
            cells.append(mean(known) if len(known) == len(results.held_out) else None)
        rows.append(cells)
    return Table(
        "Mean over the held-out sets",
        ["row", "F1, stored threshold", "max-F1"],
        rows,
        note="Each set counts as much as any other, however many images it has.",
    )


def interval_cell(estimate: Estimate, *, digits: int = 4) -> Interval:
    """Show the interval of an estimate in a table."""
    return Interval(estimate.low, estimate.high, estimate.mean, digits=digits)


def _table(results: AblationResults, name: str) -> Table:
    interval = f"{100 * LEVEL:.0f} % interval"
    stored, best = (Evaluation(protocol, name) for protocol in _PROTOCOLS)
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
    return [None, None] if estimate is None else [estimate.mean, interval_cell(estimate)]


def _further_cells(scores: Sequence[SplitScore]) -> list[Cell]:
    if not scores:
        return [None, None]
    return [mean([score.average_precision for score in scores]), scores[0].images]
