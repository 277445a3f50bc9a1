"""Whether the rows of an ablation have learned anything: their F1 beside the untrained methods'."""

from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import NamedTuple

from changedet.ablation.estimates import F1, Estimate, Sums, estimate_difference
from changedet.ablation.results import AblationResults, RowResult
from changedet.ablation.scores import Evaluation

#: Said of verdicts that nothing untrained stands beside.
NO_BASELINE = "no untrained method was evaluated on these images to compare with"


class Advance(NamedTuple):
    """A row beside the untrained method that is best on the same images.

    Attributes:
        name: The method, by its name in the registry.
        f1: Its F1.
        own: F1 of the row, mean over the seeds.
        difference: By how much the row's F1 lies above the method's.
    """

    name: str
    f1: float
    own: float
    difference: Estimate

    @property
    def has_learned(self) -> bool:
        """Whether the row beats the method beyond noise."""
        return self.difference.low > 0.0

    def describe(self) -> str:
        """Say it in figures."""
        mean, low, high = (
            100.0 * end for end in (self.difference.mean, self.difference.low, self.difference.high)
        )
        return f"F1 {self.own:.4f}, {mean:+.2f} [{low:+.2f}, {high:+.2f}] points"


class Learning:
    """Compares rows to the untrained methods; each row once for each evaluation.

    Args:
        results: The ablation.
    """

    def __init__(self, results: AblationResults) -> None:
        self._results = results
        self.advance = lru_cache(maxsize=None)(self._advance)

    def fault(self, names: Iterable[str], evaluation: Evaluation) -> str | None:
        """Say which rows do not beat the best untrained method; None if all of them do.

        Args:
            names: Rows that were evaluated so.
            evaluation: Where both are compared.
        """
        for name in names:
            advance = self.advance(name, evaluation)
            if advance is not None and not advance.has_learned:
                return (
                    f"row {name} does not beat the untrained method {advance.name} "
                    f"({advance.describe()})"
                )
        return None

    def has_baseline(self, names: Iterable[str], evaluation: Evaluation) -> bool:
        """Tell whether there is an untrained method beside each of these rows."""
        return all(self.advance(name, evaluation) is not None for name in names)

    def _advance(self, name: str, evaluation: Evaluation) -> Advance | None:
        """Compare a row to the best untrained method on the same images, if there is one."""
        runs = self._results.row(name).sums(evaluation)
        if not runs:
            return None
        beside = [
            each for each in self._untrained.get(evaluation, []) if len(each.sums) == len(runs[0])
        ]
        if not beside:
            return None
        best = max(beside, key=lambda each: each.f1)
        own = sum(map(F1.pooled, runs)) / len(runs)
        return Advance(best.name, best.f1, own, estimate_difference(runs, [best.sums]))

    @cached_property
    def _untrained(self) -> dict[Evaluation, list["_Untrained"]]:
        found: dict[Evaluation, list[_Untrained]] = {}
        for baseline in self._results.baselines:
            if baseline.judgement is None:
                continue
            for evaluation in self._results.evaluations:
                score = baseline.judgement.score(evaluation)
                if score is not None and score.images:
                    sums = score.sums("f1")
                    one = _Untrained(baseline.name, F1.pooled(sums), sums)
                    found.setdefault(evaluation, []).append(one)
        return found


@lru_cache(maxsize=1)
def learning_of(results: AblationResults) -> Learning:
    """Compare the rows of an ablation, once for its claims and its report."""
    return Learning(results)


class _Untrained(NamedTuple):
    name: str
    f1: float
    sums: Sums


def unlearned_rows(
    learning: Learning, rows: Iterable[RowResult], evaluation: Evaluation
) -> list[tuple[RowResult, Advance]]:
    """List the evaluated rows that do not beat the best untrained method."""
    advances = ((row, learning.advance(row.row.name, evaluation)) for row in rows)
    return [(row, one) for row, one in advances if one is not None and not one.has_learned]
