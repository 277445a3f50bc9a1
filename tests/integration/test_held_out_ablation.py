"""An ablation whose rows are evaluated on a set of a mixture that none was trained on."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablation_steps import steps_here
from changedet.ablation.request import AblationRequest
from changedet.ablation.runner import AblationOutcome, run_ablation
from changedet.card import read_card
from changedet.cli.ablate import with_commands
from changedet.errors import ChangeDetError
from changedet.inference.detector import load
from conftest import write_split_folders
from stand_ins import TINY_PYRAMID

pytestmark = pytest.mark.usefixtures("blank_charts")
TINY = (
    *TINY_PYRAMID,
    "data.working_gsd_m=[0.5, 1.0]",
    "training.epochs=1",
    "training.validate_every_epochs=1",
    "training.batch_size=4",
)
MIXTURE = """
sets:
  towns: {data: towns, kind: building, also_changed: any, gsd_m: 0.5}
  fields: {data: fields, kind: cropland, gsd_m: 1}
  villages: {data: villages, kind: building, gsd_m: 2}
"""


@pytest.fixture(scope="module")
def mixture(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mixture")
    write_split_folders(folder / "towns", counts=(4, 2, 0))
    write_split_folders(folder / "fields", counts=(3, 1, 0), size_px=96)
    write_split_folders(folder / "villages", counts=(2, 3, 0), size_px=80)
    path = folder / "mixture.yaml"
    path.write_text(MIXTURE)
    return path


def ablate(out: Path, data: Path, *held_out: str, **request) -> AblationOutcome:
    asked = AblationRequest(
        out=out,
        data=data,
        table="across_sensors",
        rows=("recipe", "sensor"),
        overrides=(*TINY, f"data.held_out=[{', '.join(held_out)}]"),
        device="cpu",
        **{"baselines": "none", "shown": 1, **request},
    )
    return run_ablation(with_commands(asked))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, mixture) -> Iterator[tuple[Path, AblationOutcome]]:
    out = tmp_path_factory.mktemp("ablation") / "out"
    with steps_here():
        yield out, ablate(out, mixture, "villages", baselines="all")


def test_no_row_is_trained_or_chosen_on_a_held_out_set(finished):
    out, outcome = finished
    assert outcome.problems == ()
    for row in ("recipe", "sensor"):
        card = read_card(out / "runs" / row / "seed_0" / "training" / "best.safetensors")
        assert set(card.metrics["validation"]["sets"]) == {"towns", "fields"}
        assert card.domain.gsd_m == (0.5, 1.0)
        (run,) = outcome.results.row(row).runs
        assert run.judgement.scores["best_threshold"].images == 3
        assert run.config.data.held_out == ("villages",)
        assert "data.held_out" in run.record.command


def test_a_held_out_set_is_scored_for_its_kind_at_its_gsd_with_the_stored_threshold(
    finished, mixture
):
    _, outcome = finished
    (run,) = outcome.results.row("recipe").runs
    judged = run.judgement.held_out["villages"]
    detector = load(run.folder / "training" / "best.safetensors", device="cpu", kind="building")
    threshold = detector.card.for_kind("building").threshold
    assert judged["fixed_threshold"].threshold == threshold
    folder = mixture.parent / "villages" / "val"
    counts = []
    for path in sorted((folder / "label").iterdir()):
        label = np.asarray(Image.open(path)) > 127
        score = detector.predict(
            folder / "A" / path.name, folder / "B" / path.name, gsd_m=2.0
        ).score
        found = score >= threshold
        counts.append([(found & label).sum(), (found & ~label).sum(), (~found & label).sum()])
    np.testing.assert_array_equal(judged["fixed_threshold"].counts, counts)
    best = judged["best_threshold"]
    assert best.images == 3
    assert not best.f1 < judged["fixed_threshold"].f1 - 0.01


def test_rows_and_untrained_methods_stand_side_by_side_and_claims_are_tested_there(finished):
    out, outcome = finished
    assert outcome.results.held_out == ("villages",)
    text = (out / "report.md").read_text()
    assert "Held-out set villages" in text
    assert any(
        "villages" in (one.judgement.held_out if one.judgement else "")
        for one in outcome.results.baselines
    )
    tested = {(one.claim.text, one.where) for one in outcome.claims}
    assert ("Varying the sensor gains", "fixed threshold, held-out set villages") in tested


def test_a_finished_ablation_is_resumed_without_a_step(finished, mixture):
    out, _ = finished
    with steps_here() as steps:
        outcome = ablate(out, mixture, "villages", baselines="all", mode="resume")
    assert steps.done == []
    assert outcome.results.row("sensor").estimate("best_threshold", held_out="villages")


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        (["vilages"], r"data.held_out.*'vilages'.*did you mean 'villages'"),
        (["fields"], r"'fields' labels .* 'cropland', which no other set teaches"),
        (["towns", "fields", "villages"], "no set is left"),
    ],
)
def test_sets_that_cannot_be_held_out_are_named_in_one_line(mixture, tmp_path, held_out, words):
    with pytest.raises(ChangeDetError) as caught:
        ablate(tmp_path / "out", mixture, *held_out)
    assert re.search(words, str(caught.value))
    assert not (tmp_path / "out").exists()


def test_sets_of_a_single_data_set_cannot_be_held_out(mixture, tmp_path):
    with pytest.raises(ChangeDetError, match=r"one data set, .*`data.held_out"):
        ablate(tmp_path / "out", mixture.parent / "towns", "towns")
