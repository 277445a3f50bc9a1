"""``benchmarks/gpu``: what fits, what is run, gone on with, and done about a part that fails."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"
#: Stands for the parts: notes what it is asked for, leaves a result, and does what it is told to.
PROGRAM = """
import json, os, sys, time
from pathlib import Path

name, job = sys.argv[1], json.loads(sys.argv[2])
work = Path(job["work"])
with (work / "notes.txt").open("a") as notes:
    notes.write(f"{name} {job['deadline'] - time.time():.0f}\\n")
(work / f"{name}.json").write_text(json.dumps({"found": {}}))
orders = json.loads((work / "orders.json").read_text())
if orders.get(name) == "ship":
    (work / name).mkdir(exist_ok=True)
    (work / name / "model.safetensors").write_bytes(bytes(range(256)) * 131072)
    (work / name / "ship.json").write_text('["model.safetensors"]')
elif orders.get(name) == "sleep":
    time.sleep(60)
elif name in orders:
    print("the reason")
    sys.exit(orders[name])
"""


@pytest.fixture(autouse=True)
def package(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def run(tmp_path):
    """Run a plan with the stand-in; returns its status and the parts that were started."""
    from gpu.plan import Plan, run_plan

    program = tmp_path / "parts.py"
    program.write_text(PROGRAM)
    work = tmp_path / "work"
    work.mkdir()

    def run(*parts: str, budget_s: float = 3600.0, orders=None) -> tuple[int, list[str]]:
        (work / "orders.json").write_text(json.dumps(orders or {}))
        (work / "notes.txt").write_text("")
        status = run_plan(
            Plan(
                budget_s=budget_s,
                parts=parts,
                data=tmp_path,
                out=tmp_path / "out",
                work=work,
                program=(sys.executable, str(program)),
            )
        )
        return status, (work / "notes.txt").read_text().splitlines()

    run.out, run.work = tmp_path / "out", work
    return run


def results_of(run):
    return json.loads((run.out / "results.json").read_text())


def test_parts_run_in_the_order_asked_for_each_with_its_share(run):
    status, asked = run("rows", "large", "memory")
    assert status == 0
    assert [line.split()[0] for line in asked] == ["rows", "large", "memory"]
    assert [float(line.split()[1]) for line in asked] == pytest.approx([600, 345, 75], abs=3)
    assert results_of(run)["large"] == {"found": {}}
    assert {part["status"] for part in results_of(run)["plan"].values()} == {"done"}
    assert {path.name for path in run.out.iterdir()} == {
        "results.json",
        "results.md",
        "logs.tar.gz",
    }


def test_what_does_not_fit_is_skipped_and_said_so_and_smaller_parts_still_run(run):
    status, asked = run("large", "memory", budget_s=60.0)
    assert status == 0
    assert [line.split()[0] for line in asked] == ["memory"]
    skipped = results_of(run)["plan"]["large"]
    assert skipped["status"] == "skipped"
    assert skipped["reason"].startswith("needs 90 s, 5")
    assert "| large | skipped |" in (run.out / "results.md").read_text()


def test_finished_parts_are_not_done_again_and_failed_ones_are(run):
    status, asked = run("speed", "memory", orders={"speed": 3})
    assert (status, len(asked)) == (1, 2)
    assert results_of(run)["plan"]["speed"]["reason"] == "the reason"
    status, asked = run("speed", "memory")
    assert status == 0
    assert [line.split()[0] for line in asked] == ["speed"]
    assert results_of(run)["plan"]["speed"]["status"] == "done"


def test_ctrl_c_in_a_part_ends_all_of_it(run):
    status, asked = run("speed", "memory", orders={"speed": 130})
    assert (status, len(asked)) == (130, 1)


def test_a_part_that_outlasts_the_budget_is_ended_with_it(run):
    started = time.monotonic()
    status, asked = run("memory", "speed", budget_s=30.0, orders={"memory": "sleep"})
    assert time.monotonic() - started < 38.0
    assert (status, len(asked)) == (1, 1)
    assert results_of(run)["plan"]["memory"]["reason"] == "did not end in time"


def test_a_model_is_handed_on_in_pieces_that_make_it_up(run):
    run("large", orders={"large": "ship"})
    pieces = sorted(run.out.glob("model.safetensors.*"))
    assert [piece.name for piece in pieces] == [f"model.safetensors.{i:02d}" for i in range(3)]
    assert max(piece.stat().st_size for piece in pieces) <= 16 * 2**20
    whole = b"".join(piece.read_bytes() for piece in pieces)
    assert whole == (run.work / "large" / "model.safetensors").read_bytes()


def test_ctrl_c_ends_the_plan_and_its_part(run, tmp_path):
    (run.work / "orders.json").write_text(json.dumps({"speed": "sleep"}))
    code = (
        # Where the tests run in the background, Ctrl-C is ignored and that is inherited.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys\nfrom pathlib import Path\nfrom gpu.plan import Plan, run_plan\n"
        f"sys.exit(run_plan(Plan(3600, ('speed', 'memory'), Path({str(tmp_path)!r}), "
        f"Path({str(run.out)!r}), Path({str(run.work)!r}), "
        f"program=(sys.executable, {str(tmp_path / 'parts.py')!r}))))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(FOLDER)}
    )
    while not (run.work / "speed.json").is_file():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert not (run.work / "memory.json").is_file()
    assert results_of(run)["plan"]["speed"]["status"] == "stopped"


def test_a_part_fits_from_its_least_time_on():
    from gpu.schedule import Part, fits, share_of

    part = Part("speed", 40.0, 150.0)
    assert fits(40.0, part)
    assert not fits(39.9, part)
    assert share_of(100.0, part) == 100.0
    assert share_of(1000.0, part) == 150.0


def test_an_unknown_part_is_refused():
    from gpu.schedule import part_named

    with pytest.raises(ValueError, match="no part 'sped'; parts: large"):
        part_named("sped")


@pytest.mark.parametrize("seconds", [60.0, 120.0, 300.0])
@pytest.mark.parametrize("crops_per_s", [20.0, 80.0, 500.0])
def test_a_training_is_as_long_as_fits(seconds, crops_per_s):
    from gpu.schedule import MARGIN, Pace, length_that_fits

    pace = Pace(start_s=10.0, crops_per_s=crops_per_s, end_s=4.0)
    length = length_that_fits(pace, seconds, pairs=360, crops_per_pair=20, validations=4)
    crops = length.epochs * length.crops_per_pair * 360
    rest = seconds - MARGIN * (10.0 + 4 * 4.0)
    assert crops / crops_per_s * MARGIN <= max(rest, 360 / crops_per_s * MARGIN)
    # Nothing that is worth a mention is left over.
    assert crops >= 0.8 * rest * crops_per_s / MARGIN - 360


def test_where_no_epoch_fits_there_is_one_of_single_crops():
    from gpu.schedule import Length, Pace, length_that_fits

    pace = Pace(start_s=10.0, crops_per_s=1.0, end_s=4.0)
    length = length_that_fits(pace, 5.0, pairs=360, crops_per_pair=20, validations=4)
    assert length == Length(1, 1)


TABLE = ((20, 1e-4), (40, 5e-5), (60, 1e-5), (70, 5e-6), (80, 1e-6))


@pytest.mark.parametrize("epochs", range(1, 100))
def test_a_compressed_table_rises_to_its_last_epoch_and_keeps_the_order_of_its_rates(epochs):
    from gpu.schedule import compress_table

    table = compress_table(TABLE, epochs=epochs, full=80)
    ends, rates = zip(*table, strict=True)
    assert list(ends) == sorted(set(ends))
    assert ends[0] >= 1
    assert ends[-1] == epochs
    assert list(rates) == sorted(rates, reverse=True)


def test_a_table_at_its_own_length_stays_as_it_is():
    from gpu.schedule import compress_table

    assert compress_table(TABLE, epochs=80, full=80) == list(TABLE)
    assert compress_table(TABLE, epochs=8, full=80) == [(end // 10, rate) for end, rate in TABLE]


def test_the_recipes_are_those_of_the_package():
    from gpu.recipes import LARGE, ROWS

    from changedet.training.config import load_config

    for recipe in (LARGE, *ROWS):
        config = load_config(recipe.name)
        assert config.training.batch_size == recipe.batch_size
        assert config.schedule.steps == recipe.steps
