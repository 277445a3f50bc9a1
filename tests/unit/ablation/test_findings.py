"""Claims that cannot be tested, each with its reason."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from changedet.ablation.findings import judge_claims
from changedet.ablation.resources import Resources
from changedet.ablation.results import AblationResults, BaselineResult, RowResult, RunResult
from changedet.ablation.run_state import Judgement, RunLogs, RunRecord
from changedet.ablation.scores import SplitScore
from changedet.ablation.table import parse_table
from changedet.ablation.verdict import Finding
from changedet.training.config import parse_config

CLAIMS = {
    "difference": "{text: t, kind: difference, row: a, against: b, difference: 0.1}",
    "gflop": "{text: t, kind: lower_cost, row: a, against: b, quantity: gflop}",
    "memory": "{text: t, kind: lower_cost, row: a, against: b, quantity: peak_memory}",
    "average": "{text: t, kind: lower_cost, row: a, against: b, quantity: average_memory}",
    "false_positives": (
        "{text: t, kind: heat_maps, row: a, against: b, quantity: false_positive_objects}"
    ),
    "contrast": "{text: t, kind: heat_maps, row: a, against: b, quantity: contrast}",
    "spread": "{text: t, kind: loss_spread, row: a}",
    "together": "{text: t, kind: rank_correlation, rows: [a]}",
}


def run(
    hits: int = 80,
    *,
    images: int = 6,
    false_positives: int | None = 2,
    level: float = 0.8,
    settings=None,
    resources=None,
    terms=None,
    gflop=2.0,
):
    figures = dict.fromkeys(("precision", "recall", "average_precision", "roc_auc"), 0.5)
    score = SplitScore(
        protocol="best_threshold",
        split="val",
        threshold=0.5,
        counts=np.tile([hits, 100 - hits, 100 - hits], (images, 1)),
        false_positive_objects=np.tile(
            [false_positives or 0, 1], (0 if false_positives is None else images, 1)
        ),
        # Scores of both classes vary by 0.1 about their means.
        moments=np.tile(
            [100, 100 * level, 100 * (level**2 + 0.01), 900, 180, 900 * (0.04 + 0.01)], (images, 1)
        ),
        note=None,
        **figures,
    )
    return RunResult(
        folder=Path(),
        record=RunRecord(row="a", seed=0, status="finished", settings="", command=""),
        config=parse_config(settings or {}, origin="test"),
        judgement=Judgement(
            title="model", scores={"best_threshold": score}, parameters=1, gflop=gflop
        ),
        resources=resources or Resources(),
        logs=RunLogs(1, np.arange(6.0), np.arange(6.0), terms or {}),
    )


def untrained(hits: int, *, images: int = 6) -> BaselineResult:
    """A baseline with the figures of a run."""
    return BaselineResult(f"cva_{hits}", Path(), run(hits, images=images).judgement, None)


def judge(
    claim: str,
    ours: list[RunResult],
    theirs: list[RunResult],
    baselines: Sequence[BaselineResult] = (),
) -> Finding:
    text = (
        "{title: t, rows: [{name: a, title: A}, {name: b, title: B}], claims: ["
        f"{CLAIMS[claim]}]}}"
    )
    table = parse_table(text, origin="test")
    rows = [
        RowResult(row, tuple(runs), ())
        for row, runs in zip(table.rows, (ours, theirs), strict=True)
    ]
    results = AblationResults(
        table=table,
        rows=tuple(rows),
        baselines=tuple(baselines),
        command="",
        val_split="val",
        test_split=None,
        data="",
        shown=(),
        notes=(),
        problems=(),
    )
    return judge_claims(results)[0].finding


OTHER = {"model": {"distance": "cosine"}}


def test_a_row_that_is_better_on_every_image_holds():
    found = judge("difference", [run(90)], [run(80, settings=OTHER)])
    assert found.verdict == "holds"
    assert found.measured.mean == pytest.approx(0.1)


def test_rows_that_differ_in_seed_and_name_alone_are_one_experiment():
    settings = {"name": "other", "training": {"seed": 5}}
    found = judge("difference", [run(90)], [run(80, settings=settings)])
    assert found.verdict == "not run"
    assert "same settings" in found.why


def test_rows_that_differ_in_epochs_need_a_budget_that_lets_them():
    short = {"training": {"epochs": 45}}
    spent = Resources(state="budget spent")
    assert judge("difference", [run(90, settings=short)], [run(80)]).verdict == "holds"
    found = judge("difference", [run(90, settings=short)], [run(80, resources=spent)])
    assert found.verdict == "not run"
    assert "budget" in found.why


def test_cleaner_heat_maps_are_measured_on_the_same_images():
    few = [run(false_positives=1)]
    found = judge("false_positives", few, [run(false_positives=3, settings=OTHER)])
    assert found.verdict == "holds"
    assert found.why.startswith(
        "1 against 3 false-positive objects an image, difference -2 [-2, -2]"
    )
    assert "no" not in judge("false_positives", few, [run(settings=OTHER)]).verdict
    assert (
        judge("false_positives", few, [run(false_positives=None, settings=OTHER)]).verdict
        == "not run"
    )
    sharp = judge("contrast", [run(level=0.9)], [run(level=0.6, settings=OTHER)])
    assert sharp.verdict == "holds"
    assert sharp.why.startswith("7 against 4 deviations, difference +3 ")


def test_epochs_that_were_run_stand_beside_the_claim():
    found = judge("difference", [run(90)], [run(80, settings=OTHER)])
    assert "; 1 and 1 epochs; one seed" in found.why


def test_rows_judged_on_other_images_are_not_compared():
    found = judge("difference", [run(90)], [run(80, images=5, settings=OTHER)])
    assert "different images" in found.why


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_a_row_without_a_run_leaves_its_claims_open(claim):
    found = judge(claim, [], [run()])
    assert found.verdict == "not run"


def test_costs_are_compared_where_all_of_them_are_known_and_alike():
    assert judge("gflop", [run(gflop=1.0)], [run()]).verdict == "holds"
    assert "not known" in judge("memory", [run()], [run()]).why
    small, large = Resources(peak_bytes=10**9), Resources(peak_bytes=2 * 10**9)
    found = judge("memory", [run(resources=small)], [run(resources=large)])
    assert (found.verdict, found.why) == ("holds", "1 against 2 GB")
    hardly = Resources(peak_bytes=1_001_000_000)
    close = judge("memory", [run(resources=small)], [run(resources=hardly)])
    assert close.verdict == "within noise"
    gpu = Resources(peak_bytes=2 * 10**9, memory="gpu")
    assert "GPU" in judge("memory", [run(resources=small)], [run(resources=gpu)]).why


def test_a_spread_needs_two_loss_terms_and_rising_figures_are_found():
    assert "two loss terms" in judge("spread", [run(terms={"fused": [1.0]})], []).why
    apart = {"position": [1.0, 1.0], "fused": [2.0, 2.0]}
    assert judge("spread", [run(terms=apart)], []).verdict == "does not hold"
    assert judge("together", [run()], []).verdict == "holds"


@pytest.mark.parametrize("claim", ["difference", "false_positives", "contrast"])
@pytest.mark.parametrize("baseline", [70, 75, 85, 95])
def test_a_claim_about_a_row_below_an_untrained_method_is_not_judged(claim, baseline):
    better = [run(90, false_positives=1, level=0.9)]
    worse = [run(75, false_positives=3, level=0.6, settings=OTHER)]
    rows = (better, worse)
    assert judge(claim, *rows).verdict == "holds"
    found = judge(claim, *rows, [untrained(60), untrained(baseline)])
    assert found.verdict == ("holds" if baseline < 75 else "not judged")
    if found.verdict == "not judged":
        # The first row of the claim that does not.
        own = "a does not beat" if baseline == 95 else "b does not beat"
        assert f"row {own} the untrained method cva_{baseline} (F1 0." in found.why


def test_the_figures_of_a_claim_that_is_not_judged_are_kept():
    found = judge("difference", [run(90)], [run(80, settings=OTHER)], [untrained(85)])
    assert found.measured.mean == pytest.approx(0.1)
    assert "+10.00" in found.why
    assert found.why.startswith(
        "row b does not beat the untrained method cva_85 (F1 0.8000, -5.00 [-5.00, -5.00] points); "
    )


def test_a_claim_that_cannot_be_tested_stays_so_beside_an_untrained_method():
    found = judge("difference", [run(50)], [run(50)], [untrained(85)])
    assert (found.verdict, "same settings" in found.why) == ("not run", True)


def test_claims_that_do_not_compare_accuracy_are_judged_whatever_a_row_has_learned():
    baseline = [untrained(99)]
    equal = {"position": [1.0, 1.0], "fused": [1.0, 1.0]}
    assert judge("spread", [run(10, terms=equal)], [], baseline).verdict == "holds"
    assert judge("gflop", [run(10, gflop=1.0)], [run(10)], baseline).verdict == "holds"
    assert judge("together", [run(10)], [], baseline).verdict == "holds"


@pytest.mark.parametrize("baselines", [[], [untrained(99, images=5)]])
def test_a_verdict_without_an_untrained_method_beside_it_says_so(baselines):
    found = judge("difference", [run(90)], [run(80, settings=OTHER)], baselines)
    assert found.verdict == "holds"
    assert found.why.endswith("; no untrained method was evaluated on these images to compare with")


def test_average_memory_is_compared_and_other_batches_are_said():
    small, large = Resources(average_bytes=7.5e9), Resources(average_bytes=9e9)
    found = judge("average", [run(resources=small)], [run(resources=large)])
    assert (found.verdict, found.why) == ("holds", "7.5 against 9 GB")
    batches = {"training": {"batch_size": 12}}
    found = judge("average", [run(resources=small)], [run(resources=large, settings=batches)])
    assert found.why == "7.5 against 9 GB; with batches of 4 and 12"
    assert "not known" in judge("average", [run()], [run()]).why
