"""``benchmarks/gpu``, the students for cropland: what they are trained with, and what is chosen."""

import itertools
import tarfile
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def package(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def job(tmp_path):
    """A job on six training pairs and two for validation, with all weights at hand."""
    from gpu.job import Job

    for split, count in (("train", 6), ("val", 2)):
        folder = tmp_path / "clcd" / split / "label"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").touch()
    for name in ("lite0", "lite2", "init"):
        (tmp_path / "material").mkdir(exist_ok=True)
        (tmp_path / "material" / f"{name}.safetensors").touch()
    return Job(
        part="cropland",
        data=str(tmp_path / "clcd"),
        work=str(tmp_path / "work"),
        deadline=time.time() + 500.0,
        material=str(tmp_path / "material"),
        teachers=("/t/large.safetensors", "/t/small.safetensors"),
        seed=4,
    )


def all_students():
    from gpu.cropland import students_of, twins
    from gpu.cropland_trial import TRIALS, Choice

    plain = Choice(teacher_weight=0.0, is_strong=False, start="imagenet")
    return (
        *TRIALS,
        *twins(students_of(Choice(), has_mixture=True)),
        *twins(students_of(plain, has_mixture=False)),
    )


def settings_of(words):
    return [word for before, word in itertools.pairwise(words) if before == "--set"]


def test_the_settings_of_every_student_are_settings_of_the_package(job):
    from gpu.students import train_words

    from changedet.training.config import load_config

    for student in all_students():
        words = train_words(job, student, beside=6, epochs=7, crops=24)
        config = load_config("pyramid_small", overrides=settings_of(words))
        assert config.training.epochs == 7
        assert config.training.seed == 4 + student.seed
        assert config.model.options()["kinds"] == ("cropland",)
        assert config.teacher.models == (job.teachers if student.teacher_weight else ())
        # As many crops, whatever it is trained on.
        pairs = 8 if student.split == "train+val" else 6
        assert config.data.crops_per_pair * pairs == 24
        starts = "init.safetensors" in words[words.index("--init") + 1] if "--init" in words else 0
        assert bool(starts) == (student.start == "mixture")
        assert (config.model.encoder_weights == "none") == (student.start == "mixture")
        if student.start == "imagenet":
            assert config.model.encoder_weights.endswith(f"{student.encoder}.safetensors")


def test_each_network_has_a_twin_that_has_not_seen_val_and_no_two_have_one_seed(job):
    from gpu.cropland import students_of, twins
    from gpu.cropland_trial import Choice

    pairs = twins(students_of(Choice(), has_mixture=True))
    assert [one.name.removesuffix("_train") for one in pairs[:3]] == [
        one.name.removesuffix("_all") for one in pairs[3:]
    ]
    assert [one.split for one in pairs] == ["train"] * 3 + ["train+val"] * 3
    assert len({one.seed for one in pairs}) == 6
    for own, final in zip(pairs[:3], pairs[3:], strict=True):
        assert (own.changes, own.start, own.encoder) == (final.changes, final.start, final.encoder)


def test_without_a_teacher_or_weights_students_do_without(job):
    from dataclasses import replace

    from gpu.cropland_trial import TRIALS
    from gpu.students import train_words

    bare = replace(job, teachers=(), material=None)
    words = " ".join(train_words(bare, TRIALS[-1], beside=1, epochs=1, crops=6))
    assert "teacher." not in words
    assert "--init" not in words
    assert "model.encoder_weights=none" in words


@pytest.mark.parametrize(
    ("precisions", "expected"),
    [
        # plain, taught, strong, mixture, teacher_most
        ((0.88, 0.89, 0.89, 0.90, 0.90), (0.5, True, "mixture")),
        ((0.88, 0.89, 0.88, 0.90, 0.90), (0.5, False, "mixture")),
        ((0.88, 0.89, 0.89, 0.88, 0.88), (0.5, True, "imagenet")),
        ((0.90, 0.88, 0.89, 0.90, 0.92), (0.0, True, "mixture")),
        ((0.88, 0.89, 0.89, 0.90, 0.91), (0.9, True, "mixture")),
        ((0.88, 0.886, 0.885, 0.884, 0.883), (0.5, True, "mixture")),
        ((None, 0.89, 0.80, None, None), (0.5, False, "mixture")),
        ((None,) * 5, (0.5, True, "mixture")),
    ],
)
def test_an_ingredient_is_left_out_where_it_costs_precision(precisions, expected):
    from gpu.cropland_trial import TRIALS, choose

    rows = {
        trial.name: {} if found is None else {"average_precision": found}
        for trial, found in zip(TRIALS, precisions, strict=True)
    }
    choice = choose(rows)
    assert (choice.teacher_weight, choice.is_strong, choice.start) == expected


def test_what_the_trial_chose_is_used(job):
    from gpu.cropland_trial import Choice, choice_of
    from gpu.job import results_path, write_json

    assert choice_of(job) == Choice()
    chosen = {"teacher_weight": 0.9, "is_strong": False, "start": "imagenet"}
    write_json(results_path(Path(job.work), "cropland_trial"), {"plain": {}, "choice": chosen})
    assert choice_of(job) == Choice(0.9, is_strong=False, start="imagenet")


def test_the_more_the_mixture_is_worth_the_more_students_start_from_it():
    from gpu.cropland import students_of
    from gpu.cropland_trial import Choice, choose

    found = {"strong": {"average_precision": 0.88}, "mixture": {"average_precision": 0.895}}
    assert choose(found).starts_all
    found["mixture"]["average_precision"] = 0.885
    assert not choose(found).starts_all
    found["mixture"] = {"average_precision": 0.8, "train": {"was_stopped": True}}
    assert choose(found) == Choice()

    def starts(**choice):
        return [student.start for student in students_of(Choice(**choice), has_mixture=True)]

    assert starts() == ["mixture", "imagenet", "imagenet"]
    assert starts(starts_all=True) == ["mixture", "imagenet", "mixture"]
    assert starts(start="imagenet") == ["imagenet"] * 3
    without = students_of(Choice(starts_all=True), has_mixture=False)
    assert [student.start for student in without] == ["imagenet"] * 3


def test_the_last_row_of_a_validation_log_counts(tmp_path):
    from gpu.cropland_trial import last_validation

    assert last_validation(tmp_path) == {}
    log = tmp_path / "logs" / "validation.csv"
    log.parent.mkdir()
    log.write_text("step,max_f1,average_precision\n1,0.5,0.6\n2,0.7,0.8\n")
    assert last_validation(tmp_path) == {"max_f1": 0.7, "average_precision": 0.8}


def test_all_students_are_equally_long_and_end_in_time(job):
    from gpu.schedule import Pace
    from gpu.students import CROPS_PER_PAIR, _epochs

    paces = [Pace(start_s=20.0, crops_per_s=250.0, end_s=8.0)] * 6
    epochs = _epochs(job, paces, seconds=420.0)
    crops = CROPS_PER_PAIR * 6
    assert epochs * crops / 250.0 + 20.0 + 2 * 8.0 <= 420.0
    assert epochs * crops / 250.0 >= 0.8 * (420.0 - 36.0)
    assert _epochs(job, paces, seconds=1.0) == 1


def test_students_are_handed_on_in_one_archive(job):
    from gpu.cropland import _pack
    from gpu.students import Student

    for kind in ("train", "all"):
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / f"lite0_{kind}.safetensors").write_text(kind)
    _pack(job, [Student("lite0")])
    with tarfile.open(job.folder / "members.tar") as tar:
        assert sorted(tar.getnames()) == ["lite0_all.safetensors", "lite0_train.safetensors"]
    assert (job.folder / "ship.json").read_text() == '[\n  "members.tar"\n]\n'


def test_the_table_of_results_names_networks_and_figures():
    from gpu.report import to_markdown

    text = to_markdown(
        {
            "cropland_trial": {
                "plain": {"max_f1": 0.8, "average_precision": 0.9, "train": {"crops": 7200}},
                "choice": {"start": "mixture"},
            },
            "cropland": {
                "lite0_train": {
                    "train": {"crops": 7200, "seconds": 60.0},
                    "int8": {
                        "bytes": 3_350_000,
                        "f1": 0.82,
                        "threshold": 0.3,
                        "average_precision": 0.9,
                    },
                },
                "lite0_all": {"train": {"crops": 7200, "seconds": 61.0}},
            },
        }
    )
    assert "| plain | 7200 | 0.8000 | 0.9000 |  |" in text
    assert "| lite0_train | 7200 | 60 | 3.4 | 0.8200 | 0.3000 | 0.9000 |  |" in text
    assert "| lite0_all | 7200 | 61 |  |  |  |  |  |" in text
