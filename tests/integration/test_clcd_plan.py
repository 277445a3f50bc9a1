"""``benchmarks/clcd_gpu.sh``: what it runs, goes on with, and does about a part that fails."""

import os
import subprocess
from pathlib import Path

import pytest

PLAN = Path(__file__).parents[2] / "benchmarks" / "clcd_gpu.sh"
#: Stands for the program: notes what it is asked for, and fails where $FAILS is among that.
PROGRAM = """#!/usr/bin/env bash
echo "$*" >> "$NOTES"
if [ -n "${FAILS:-}" ] && [[ "$*" == *"$FAILS"* ]]; then exit "$STATUS"; fi
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "changedet"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    notes = tmp_path / "notes.txt"
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(notes))

    def run(seeds: str = "0", fails: str = "", status: int = 1) -> tuple[int, list[str]]:
        notes.write_text("")
        monkeypatch.setenv("STATUS", str(status))
        monkeypatch.setenv("FAILS", fails)
        arguments = ["CLCD", "weights.pth", str(tmp_path / "out"), "3", seeds]
        ended = subprocess.run(["bash", str(PLAN), *arguments], check=False)
        return ended.returncode, notes.read_text().splitlines()

    run.out = tmp_path / "out"
    return run


def test_it_trains_the_large_recipe_judges_it_and_runs_both_tables(plan):
    status, asked = plan("0,1")
    assert status == 0
    words = [line.split()[:2] for line in asked]
    assert words == [
        ["train", "pyramid_large"],
        ["train", "pyramid_large"],
        ["ensemble", f"{plan.out}/large_0/best.safetensors"],
        ["calibrate", f"{plan.out}/large_mean.safetensors"],
        ["benchmark", "accuracy"],
        ["ablate", "seed"],
        ["ablate", "pyramid"],
    ]
    assert "--set model.encoder_weights=weights.pth --set training.seed=1" in asked[1]
    assert not any("--resume" in line for line in asked)
    assert not any(line.startswith("train") and "--overwrite" in line for line in asked)
    assert all("--epochs 3 --seeds 0,1" in line for line in asked[-2:])


def test_what_was_begun_goes_on_and_a_run_without_a_checkpoint_begins_anew(plan):
    (plan.out / "large_0" / "checkpoints").mkdir(parents=True)
    (plan.out / "seed").mkdir()
    (plan.out / "seed" / "ablation.json").touch()
    _, asked = plan()
    assert asked[0].startswith("train pyramid_large")
    assert "--overwrite" in asked[0]
    assert asked[-2].endswith("--resume")
    assert not asked[-1].endswith("--resume")
    (plan.out / "large_0" / "checkpoints" / "last.safetensors").touch()
    _, asked = plan()
    assert asked[0] == f"train --out {plan.out}/large_0 --resume"
    assert asked[1].startswith(f"calibrate {plan.out}/large_0/best.safetensors")


@pytest.mark.parametrize(
    ("fails", "kept"), [("train", ["train", "ablate", "ablate"]), ("ablate seed", None)]
)
def test_a_part_that_fails_keeps_no_other_from_running(plan, fails, kept):
    status, asked = plan(fails=fails)
    assert status == 1
    programs = [line.split()[0] for line in asked]
    assert programs == (kept or ["train", "calibrate", "benchmark", "ablate", "ablate"])


def test_ctrl_c_ends_all_of_it(plan):
    status, asked = plan(fails="train", status=130)
    assert status == 130
    assert len(asked) == 1
