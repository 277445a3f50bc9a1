"""Whether a claim about an ablation holds: the rules, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from changedet.ablation.estimates import LEVEL, Estimate

Verdict = Literal["holds", "does not hold", "within noise", "not judged", "not run"]

#: The rules of this module in words, for reports.
RULES = (
    f"A difference holds if its sign is the claimed one and its {100 * LEVEL:.0f} % interval "
    "excludes 0; it does not hold if the interval is entirely on the other side of 0; otherwise "
    "it is within noise. The interval is that of a paired bootstrap over images of the mean over "
    "seeds, joined in quadrature with Welch's interval over the seeds where both rows have two or "
    "more; with one seed it covers the images only, which is stated. The claimed size is also "
    "compared with the interval. There is no correction for multiple claims: of twenty claims "
    "without any effect, one exceeds the noise by chance.",
    "A claim about F1 or heat maps is not judged if one of its rows does not beat the best "
    "untrained method on the same images by these rules (the interval of the difference of their "
    "F1 excludes 0): such a row has not learned what the claim is about.",
    "Cleaner heat maps are assessed in the same way, by false-positive objects (found objects "
    "without a pixel that is labelled changed, at the threshold that validation chose, per image) "
    "or by contrast (difference of the mean scores of changed and unchanged pixels over the root "
    "of their mean variance). A row that detects less also has fewer of those objects: read them "
    "together with F1.",
    "A lower cost holds if every run of the row needs less than every run of the other, does not "
    "hold if none needs less than any of the other, and otherwise is within noise; so is memory "
    "that differs by less than 2 %.",
    "Loss terms stay nearly equal if their spread (largest minus smallest over their mean, median "
    "over the log) is within the limit in every run of the row; it does not hold if it is beyond "
    "the limit in every run; otherwise it is within noise.",
    "Two figures rise together if the interval of their mean rank correlation within runs lies "
    "above 0; it does not hold if it lies below 0; otherwise it is within noise.",
)


@dataclass(frozen=True)
class Finding:
    """What the runs say to a claim, under one protocol.

    Attributes:
        verdict: By :data:`RULES`.
        why: The figures behind it, or why there are none.
        measured: The estimate behind it, if there is one.
    """

    verdict: Verdict
    why: str
    measured: Estimate | None = None


def not_run(reason: str) -> Finding:
    """Say that a claim could not be tested."""
    return Finding("not run", reason)


def not_judged(finding: Finding, reason: str) -> Finding:
    """Take back the verdict of a finding, whose figures stay.

    Args:
        finding: What the rules say by themselves.
        reason: Why that shows nothing.
    """
    if finding.verdict == "not run":
        return finding
    return Finding("not judged", f"{reason}; {finding.why}", finding.measured)


def judge_difference(measured: Estimate, claimed: float, *, epochs: Sequence[int]) -> Finding:
    """Test the claim that a figure differs by ``claimed``, whose sign counts (not 0).

    Args:
        measured: The difference, as a fraction.
        claimed: What it should be.
        epochs: How long both rows were trained, which is said.
    """
    if not measured.low <= measured.high:
        return not_run("the figure is undefined in one of the rows")
    verdict = _by_sign(*_towards(measured, claimed))
    has_size = measured.low <= claimed <= measured.high
    why = (
        f"{_points(measured.mean)} [{_points(measured.low)}, {_points(measured.high)}] points, "
        f"claimed {_points(claimed)}, which lies {'inside' if has_size else 'outside'}"
    )
    why += f"; {' and '.join(map(str, epochs))} epochs{_one_seed(measured)}"
    return Finding(verdict, why, measured)


def judge_cleaner(
    measured: Estimate,
    quantity: Literal["false_positive_objects", "contrast"],
    *,
    ours: float,
    theirs: float,
) -> Finding:
    """Test the claim that heat maps have fewer false-positive objects or a sharper contrast.

    Args:
        measured: The difference between the two rows.
        quantity: What it is about.
        ours: The row's figure.
        theirs: The other row's.
    """
    if not measured.low <= measured.high:
        return not_run("the figure is undefined in one of the rows")
    verdict = _by_sign(*_towards(measured, -1.0 if quantity == "false_positive_objects" else 1.0))
    unit = (
        "false-positive objects an image" if quantity == "false_positive_objects" else "deviations"
    )
    why = (
        f"{ours:.3g} against {theirs:.3g} {unit}, difference {measured.mean:+.3g} "
        f"[{measured.low:+.3g}, {measured.high:+.3g}]{_one_seed(measured)}"
    )
    return Finding(verdict, why, measured)


def judge_correlation(measured: Estimate) -> Finding:
    """Test the claim that two figures rise together."""
    if not measured.low <= measured.high:
        return not_run("no run has four validations in which both figures move")
    why = (
        f"{measured.mean:+.2f} [{measured.low:+.2f}, {measured.high:+.2f}], "
        f"mean of {measured.seeds} run{'s' if measured.seeds > 1 else ''}"
    )
    return Finding(_by_sign(measured.low, measured.high), why, measured)


def judge_lower(
    ours: Sequence[float], theirs: Sequence[float], *, unit: str, tolerance: float = 0.0
) -> Finding:
    """Test the claim that each of ``ours`` lies below each of ``theirs``; one per run, not empty.

    Args:
        ours: Costs of the row's runs.
        theirs: Costs of the other row's runs.
        unit: Their unit, for the sentence.
        tolerance: Differences up to this share of the larger one are noise.
    """
    why = f"{_span(ours)} against {_span(theirs)} {unit}".rstrip()
    gap = tolerance * max(*ours, *theirs)
    if max(ours) < min(theirs) - gap:
        return Finding("holds", why)
    is_more = min(ours) >= max(theirs) + gap
    return Finding("does not hold" if is_more else "within noise", why)


def judge_at_most(values: Sequence[float], limit: float) -> Finding:
    """Test the claim that each value, one per run, not empty, is at most ``limit``."""
    why = f"{_span(values)}, limit {limit:g}"
    if max(values) <= limit:
        return Finding("holds", why)
    return Finding("does not hold" if min(values) > limit else "within noise", why)


def _towards(measured: Estimate, claimed: float) -> tuple[float, float]:
    """The interval, with its sign flipped if the claimed direction is downwards."""
    if claimed > 0.0:
        return measured.low, measured.high
    return -measured.high, -measured.low


def _by_sign(low: float, high: float) -> Verdict:
    if low > 0.0:
        return "holds"
    return "does not hold" if high < 0.0 else "within noise"


def _one_seed(measured: Estimate) -> str:
    return "" if measured.seeds > 1 else "; one seed, so the interval covers the images only"


def _points(difference: float) -> str:
    return f"{100.0 * difference:+.2f}"


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
