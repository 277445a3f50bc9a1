import csv
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from changedet.baselines.registry import create_baseline
from changedet.card import ModelCard
from changedet.domain import Appearance, Domain
from changedet.errors import CheckpointError, ConfigError, DataError, ImageError
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.evaluation.leakage import was_chosen_on
from changedet.inference.detector import load
from changedet.metrics.confusion import Confusion
from changedet.metrics.histogram import PAPER_THRESHOLDS
from changedet.models.model_file import save_model
from changedet.models.registry import create_model
from changedet.results import read_results
from changedet.selection import Selection
from changedet.types import Normalisation
from stand_ins import untrained_network

pytestmark = pytest.mark.usefixtures("blank_charts")
THRESHOLD = 0.2
SPLITS = {"train": 2, "val": 3, "test": 4}


def write_model(path: Path, **card: Any) -> Path:
    model = untrained_network("dasnet_v2")
    chosen = Selection("training", data="TINY", split="val", images=3, epoch=1, batch=2)
    fields = {
        "threshold": THRESHOLD,
        "threshold_selection": chosen,
        "weights_selection": (chosen,),
        "data_name": "TINY",
        "recipe": {"data": {"train_split": "train"}},
        **card,
    }
    save_model(
        path,
        model,
        ModelCard(
            architecture=model.architecture,
            options=model.options,
            normalisation=Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3),
            tile_px=64,
            **fields,
        ),
    )
    return path


def write_pair(root: Path, split: str, number: int, *, side: int = 40) -> None:
    """A noisy image and the same with a square of other noise, which the label marks."""
    rng = np.random.default_rng([number, len(split)])
    before = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    after = before.copy()
    label = np.zeros((side, side), dtype=np.uint8)
    square = np.s_[4 : 20 + 2 * number, 6:24]
    after[square] = rng.integers(0, 256, after[square].shape, dtype=np.uint8)
    label[square] = 255
    for folder, pixels in (("A", before), ("B", after), ("label", label)):
        (root / split / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / split / folder / f"{split}_{number}.png")


def write_data(root: Path) -> Path:
    for split, count in SPLITS.items():
        for number in range(count):
            write_pair(root, split, number)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "TINY")


def request(model: Path | str, data: Path, out: Path, **options: Any) -> EvaluationRequest:
    return EvaluationRequest(model, data, out, **{"device": "cpu", "panels": 0, **options})


def read_pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


@functools.cache
def predicted(model: Path, data: Path, split: str) -> list[tuple[NDArray, NDArray]]:
    """The scores of each image of a split, and where its label says changed."""
    detector = load(model, device="cpu")
    found = []
    for path in sorted((data / split / "A").iterdir()):
        after = read_pixels(data / split / "B" / path.name)
        changed = read_pixels(data / split / "label" / path.name) == 255
        found.append((detector.predict(read_pixels(path), after).score, changed))
    return found


def compare(model: Path, data: Path, split: str, threshold: float) -> list[Confusion]:
    """Count by hand, image by image."""
    found = []
    for score, changed in predicted(model, data, split):
        mask = score >= np.float32(threshold)
        hits, misses = (mask & changed).sum(), (~mask & changed).sum()
        alarms, rest = (mask & ~changed).sum(), (~mask & ~changed).sum()
        found.append(Confusion(int(hits), int(alarms), int(misses), int(rest)))
    return found


def pooled(counts: list[Confusion]) -> Confusion:
    return Confusion(*(sum(column) for column in zip(*counts, strict=True)))


def test_both_protocols_are_those_of_counting_by_hand(tmp_path: Path, model: Path, data: Path):
    report = evaluate_model(request(model, data, tmp_path / "out"))
    by_hand = pooled(compare(model, data, "test", THRESHOLD))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics == report.to_dict()
    fixed = metrics["fixed_threshold"]
    assert fixed["confusion"] == by_hand._asdict()
    for name in ("f1", "iou", "precision", "recall", "overall_accuracy", "kappa"):
        assert fixed[name] == pytest.approx(getattr(by_hand, name))
        low, high = fixed["intervals"][name]
        assert low <= high
    assert (fixed["threshold"], fixed["distance"]) == (THRESHOLD, 2 * THRESHOLD)
    tried = [pooled(compare(model, data, "test", t)).f1 for t in PAPER_THRESHOLDS]
    assert metrics["best_threshold"]["max_f1"] == pytest.approx(max(tried))
    assert "optimistic" in metrics["best_threshold"]["note"]
    # For one more version under their former names as well.
    assert metrics["seed"] == metrics["best_threshold"]
    assert metrics["honest"] == metrics["fixed_threshold"]
    assert metrics["images"] == 4
    assert metrics["split"] == "test"
    assert metrics["data"]["name"] == "TINY"
    assert metrics["model"]["file"] == "tiny.safetensors"
    assert 0.0 < metrics["average_precision"] <= 1.0
    assert 0.5 < metrics["roc_auc"] <= 1.0
    assert metrics["device"] == "cpu"
    assert metrics["seconds"] > 0.0
    assert metrics["version"]


def test_the_name_of_an_image_starts_no_formula_in_the_table(tmp_path: Path, model: Path):
    data = write_data(tmp_path / "TINY")
    for folder in ("A", "B", "label"):
        (data / "test" / folder / "test_0.png").rename(data / "test" / folder / "=1+1.png")
    evaluate_model(request(model, data, tmp_path / "out"))
    with (tmp_path / "out" / "per_image.csv").open(newline="") as file:
        assert "'=1+1" in [row["name"] for row in csv.DictReader(file)]


def test_every_image_has_its_row(tmp_path: Path, model: Path, data: Path):
    evaluate_model(request(model, data, tmp_path / "out"))
    with (tmp_path / "out" / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_hand = compare(model, data, "test", THRESHOLD)
    assert [row["name"] for row in rows] == [f"test_{number}" for number in range(4)]
    for row, count in zip(rows, by_hand, strict=True):
        assert tuple(int(row[name]) for name in Confusion._fields) == tuple(count)
        assert float(row["f1"]) == pytest.approx(count.f1, abs=1e-6)
        assert float(row["changed_share"]) == pytest.approx((count.tp + count.fn) / 1600, abs=1e-6)
        assert float(row["detected_share"]) == pytest.approx((count.tp + count.fp) / 1600, abs=1e-6)


def test_a_figure_that_is_undefined_stays_empty(tmp_path: Path, model: Path):
    data = write_data(tmp_path / "TINY")
    Image.fromarray(np.zeros((40, 40), dtype=np.uint8)).save(data / "test/label/test_1.png")
    evaluate_model(request(model, data, tmp_path / "out", threshold=1.0))
    with (tmp_path / "out" / "per_image.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[1]
    assert (row["f1"], row["precision"], row["recall"], row["tn"]) == ("", "", "", "1600")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, model: Path, data: Path) -> Path:
    """Results with pictures: made before a test has blank charts."""
    out = tmp_path_factory.mktemp("judged") / "out"
    evaluate_model(request(model, data, out, panels=3))
    return out


def test_curve_and_panels_are_written(judged: Path, model: Path, data: Path):
    out = judged
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "panel_parts",
        "panels",
        "per_image.csv",
        "precision_recall.png",
        "score_histogram.csv",
    ]
    assert min(read_pixels(out / "precision_recall.png").shape[:2]) > 100
    panels = sorted(path.name for path in (out / "panels").iterdir())
    ranked = sorted(compare(model, data, "test", THRESHOLD), key=lambda count: count.f1)
    assert [name.split("_")[1] for name in panels] == ["worst", "median", "best"]
    assert panels[0].startswith(f"01_worst_f1-{ranked[0].f1:.3f}_test_")
    assert panels[2].startswith(f"03_best_f1-{ranked[3].f1:.3f}_test_")
    picture = read_pixels(out / "panels" / panels[0])
    assert picture.shape[1] > 3 * picture.shape[0]


def test_the_table_of_scores_holds_all_pixels_and_gives_the_figures_again(judged: Path):
    results = read_results(judged / "metrics.json")
    with (judged / "score_histogram.csv").open() as file:
        rows = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]
    confusion = results.fixed_threshold.confusion
    assert len(rows) == 1025
    assert sum(row[1] + row[2] for row in rows) == sum(confusion)
    assert sum(row[2] for row in rows) == confusion.tp + confusion.fn
    # The threshold is no multiple of 1/1024: two that are enclose its count.
    below, above = (
        sum(row[2] for row in rows if row[0] >= end) for end in (THRESHOLD - 1 / 1024, THRESHOLD)
    )
    assert above <= confusion.tp <= below


def test_the_parts_of_a_panel_are_those_that_it_shows(judged: Path, model: Path, data: Path):
    stems = sorted(path.stem for path in (judged / "panels").glob("*.png"))
    parts = judged / "panel_parts"
    assert sorted(path.name for path in parts.iterdir()) == stems
    for stem in stems:
        name = stem.split("_", 3)[3]
        files = {kind: next((data / "test" / kind).glob(f"{name}.*")) for kind in ("A", "B")}
        label = read_pixels(next((data / "test" / "label").glob(f"{name}.*")))
        assert np.array_equal(read_pixels(parts / stem / "label.png"), 255 * (label > 0))
        score = load(model).predict(files["A"], files["B"]).score
        assert np.abs(read_pixels(parts / stem / "score.png") / 255 - score).max() < 0.003
        for kind, part in (("A", "before"), ("B", "after")):
            # Noise is hard on JPEG, above all on its colours.
            shown, image = (
                read_pixels(path).mean(axis=2).ravel()
                for path in (parts / stem / f"{part}.jpg", files[kind])
            )
            assert np.corrcoef(shown, image)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("split", "note"),
    [("test", None), ("val", "selection set, optimistic"), ("train", "training set, optimistic")],
)
def test_figures_of_images_that_were_seen_before_are_called_optimistic(
    tmp_path: Path, model: Path, data: Path, split: str, note: str | None
):
    report = evaluate_model(request(model, data, tmp_path / "out", split=split))
    assert report.to_dict()["fixed_threshold"]["note"] == note
    assert report.to_dict()["fixed_threshold"]["threshold_source"].startswith(
        "max-F1 on split 'val'"
    )


@pytest.mark.parametrize(("name", "note"), [("TINY", "training set, optimistic"), ("OTHER", None)])
def test_a_set_of_the_mixture_that_trained_a_model_is_known_by_its_name(
    tmp_path: Path, data: Path, name: str, note: str | None
):
    looks = Appearance(name, 3, (0.0,) * 24, (0.0,) * 300, 1.0, 0.5, 9, 9)
    mixed = write_model(
        tmp_path / "mixed.safetensors",
        data_name="towns and fields; clcd",
        domain=Domain(sets=(looks,)),
        recipe={"data_sets": [{"name": "towns and fields", "train_split": "train+val"}]},
        threshold_selection=None,
        weights_selection=(),
    )
    report = evaluate_model(request(mixed, data, tmp_path / "out", split="val"))
    assert report.fixed_threshold is not None
    assert report.fixed_threshold.note == note


def test_the_same_split_of_other_data_is_no_selection_set(tmp_path: Path, model: Path):
    other = write_data(tmp_path / "OTHER")
    report = evaluate_model(request(model, other, tmp_path / "out", split="val"))
    assert report.to_dict()["fixed_threshold"]["note"] is None


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection("split", data="LEVIR-CD", split="val", images=64), True),
        (Selection("split", data="levir-cd", split="val", images=64), True),
        (Selection("split", data="LEVIR-CD+", split="val", images=64), False),
        (Selection("split", data="LEVIR-CD", split="test", images=1), False),
        (Selection("user"), False),
        (Selection("other", text="max-F1 on split 'val' of LEVIR-CD"), False),
    ],
)
def test_a_record_tells_which_split_of_which_data_chose(selection, expected):
    assert was_chosen_on(selection, data_name="LEVIR-CD", split="val") is expected


def test_a_threshold_given_by_hand_is_applied_and_said(tmp_path: Path, model: Path, data: Path):
    report = evaluate_model(request(model, data, tmp_path / "out", split="val", threshold=0.15))
    fixed = report.to_dict()["fixed_threshold"]
    assert fixed["threshold"] == 0.15
    assert fixed["threshold_source"] == "set by the user"
    # The split chose the weights.
    assert fixed["note"] == "selection set, optimistic"
    assert fixed["confusion"] == pooled(compare(model, data, "val", 0.15))._asdict()


def test_without_a_threshold_there_is_no_fixed_threshold_figure_but_a_reason(
    tmp_path: Path, data: Path
):
    bare = write_model(tmp_path / "bare.safetensors", threshold=None, threshold_selection=None)
    report = evaluate_model(request(bare, data, tmp_path / "out", panels=2))
    assert report.fixed_threshold is None
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["fixed_threshold"] is None
    assert "no threshold" in metrics["reason"]
    assert "`threshold`" in metrics["reason"]
    assert metrics["best_threshold"]["max_f1"] > 0.0
    assert metrics["pictures_threshold"] == metrics["best_threshold"]["threshold"]
    assert len(list((tmp_path / "out" / "panels").iterdir())) == 2


def test_a_split_without_change_gives_nulls_instead_of_figures(tmp_path: Path, model: Path):
    data = write_data(tmp_path / "TINY")
    for path in (data / "test" / "label").iterdir():
        Image.fromarray(np.zeros((40, 40), dtype=np.uint8)).save(path)
    bare = write_model(tmp_path / "bare.safetensors", threshold=None, threshold_selection=None)
    said: list[str] = []
    asked = request(bare, data, tmp_path / "out", panels=1)
    metrics = evaluate_model(asked, say=said.append).to_dict()
    assert said[-1].startswith("WARNING: the labels of the split 'test' have no changed pixel")
    assert metrics["best_threshold"]["max_f1"] is None
    assert metrics["roc_auc"] is None
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics


def test_images_larger_than_a_tile_and_of_many_sizes_are_evaluated_in_both_modes(
    tmp_path: Path, model: Path
):
    data = write_data(tmp_path / "LARGE")
    write_pair(data, "test", 8, side=150)
    pixels = 4 * 40 * 40 + 150 * 150
    for mode in ("whole", "grid"):
        metrics = evaluate_model(request(model, data, tmp_path / mode, mode=mode)).to_dict()
        assert sum(metrics["fixed_threshold"]["confusion"].values()) == pixels
        assert metrics["mode"] == mode
    whole = compare(model, data, "test", THRESHOLD)
    report = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert report["fixed_threshold"]["confusion"] == pooled(whole)._asdict()


def test_the_label_encoding_is_decided_and_said(tmp_path: Path, model: Path, data: Path):
    said: list[str] = []
    report = evaluate_model(request(model, data, tmp_path / "out"), say=said.append)
    assert any(line.startswith("labels: ") and "255" in line for line in said)
    assert not any("no changed pixel" in line for line in said)
    assert report.to_dict()["data"]["label"]["changed"] == [255]


def test_ignored_pixels_do_not_count(tmp_path: Path, model: Path):
    data = write_data(tmp_path / "TINY")
    label = read_pixels(data / "test/label/test_0.png").copy()
    label[30:] = 7
    Image.fromarray(label).save(data / "test/label/test_0.png")
    with pytest.raises(DataError, match="7"):
        evaluate_model(request(model, data, tmp_path / "out"))
    report = evaluate_model(request(model, data, tmp_path / "out", ignore_value=7))
    assert sum(report.to_dict()["fixed_threshold"]["confusion"].values()) == 4 * 1600 - 400


@pytest.mark.parametrize(
    ("kind", "ignore_value", "counted"), [("binary", 7, 4 * 1600 - 400), ("declared", None, 6400)]
)
def test_what_training_declared_of_the_labels_holds_for_its_own_data(
    tmp_path: Path, kind: str, ignore_value: int | None, counted: int
):
    data = write_data(tmp_path / "TINY")
    label = read_pixels(data / "test/label/test_0.png").copy()
    label[30:] = 7
    Image.fromarray(label).save(data / "test/label/test_0.png")
    encoding = {"kind": kind, "changed": [255], "unchanged": [0], "ignore_value": ignore_value}
    trained = write_model(tmp_path / "m.safetensors", label={**encoding, "grey_threshold": None})
    report = evaluate_model(request(trained, data, tmp_path / "out"))
    assert sum(report.to_dict()["fixed_threshold"]["confusion"].values()) == counted


def test_progress_counts_every_pair(tmp_path: Path, model: Path, data: Path):
    steps: list[tuple[int, int]] = []
    evaluate_model(
        request(model, data, tmp_path / "out"), progress=lambda *step: steps.append(step)
    )
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_split_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, model: Path, data: Path
):
    with pytest.raises(DataError, match=r"no split 'night'.*train, val, test"):
        evaluate_model(request(model, data, tmp_path / "out", split="night"))


def test_a_split_without_labels_is_refused(tmp_path: Path, model: Path):
    data = write_data(tmp_path / "TINY")
    for path in (data / "test" / "label").iterdir():
        path.unlink()
    (data / "test" / "label").rmdir()
    with pytest.raises(DataError, match=r"split 'test' of .* no labels.*changedet predict"):
        evaluate_model(request(model, data, tmp_path / "out"))


def test_data_that_are_not_there_are_named(tmp_path: Path, model: Path):
    with pytest.raises(DataError, match="nowhere"):
        evaluate_model(request(model, tmp_path / "nowhere", tmp_path / "out"))


def test_a_label_of_another_size_is_named(tmp_path: Path, model: Path):
    data = write_data(tmp_path / "TINY")
    Image.fromarray(np.zeros((40, 38), dtype=np.uint8)).save(data / "test/label/test_2.png")
    with pytest.raises(DataError, match=r"label/test_2\.png is 38x40 pixels.*40x40"):
        evaluate_model(request(model, data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_truncated_image_is_named(tmp_path: Path, model: Path):
    data = write_data(tmp_path / "TINY")
    damaged = data / "test" / "B" / "test_3.png"
    damaged.write_bytes(damaged.read_bytes()[:600])
    with pytest.raises(ImageError, match=r"B/test_3\.png"):
        evaluate_model(request(model, data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_empty_list_is_refused(tmp_path: Path, model: Path):
    data = tmp_path / "LISTED"
    data.mkdir()
    (data / "test.txt").write_text("")
    with pytest.raises(DataError, match=r"test\.txt is empty"):
        evaluate_model(request(model, data, tmp_path / "out"))


def test_a_pickle_is_no_model_file(tmp_path: Path, data: Path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match="changedet convert"):
        evaluate_model(request(tmp_path / "old.pth", data, tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.1}, r"score in \[0, 1\], got 1.1.*half the distance"),
        ({"panels": -1}, "`panels` must be at least 0, got -1"),
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"benchmark": "LEVIRCD2"}, "LEVIR-CD"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, model: Path, data: Path, options: dict[str, Any], message: str
):
    with pytest.raises(ConfigError, match=message):
        evaluate_model(request(model, data, tmp_path / "out", **options))


def test_another_runs_results_are_kept_unless_told(tmp_path: Path, model: Path, data: Path):
    out = tmp_path / "out"
    evaluate_model(request(model, data, out))
    with pytest.raises(
        ConfigError, match=r"contains the results of another run.*`existing=.replace.`"
    ):
        evaluate_model(request(model, data, out, split="val"))
    assert json.loads((out / "metrics.json").read_text())["split"] == "test"
    evaluate_model(request(model, data, out, split="val", existing="replace"))
    assert json.loads((out / "metrics.json").read_text())["split"] == "val"


def compare_baseline(name: str, data: Path, split: str, threshold: float) -> list[Confusion]:
    """Count an untrained method by hand, image by image."""
    baseline, found = create_baseline(name), []
    for path in sorted((data / split / "A").iterdir()):
        score = baseline.score(read_pixels(path), read_pixels(data / split / "B" / path.name))
        changed = read_pixels(data / split / "label" / path.name) == 255
        mask = score >= np.float32(threshold)
        hits, misses = (mask & changed).sum(), (~mask & changed).sum()
        alarms, rest = (mask & ~changed).sum(), (~mask & ~changed).sum()
        found.append(Confusion(int(hits), int(alarms), int(misses), int(rest)))
    return found


def test_an_untrained_method_is_evaluated_like_a_model(tmp_path: Path, data: Path):
    out = tmp_path / "out"
    report = evaluate_model(request("baseline:difference", data, out, panels=2))
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == report.to_dict()
    by_hand = compare_baseline("difference", data, "test", 0.5)
    assert metrics["fixed_threshold"]["confusion"] == pooled(by_hand)._asdict()
    assert metrics["fixed_threshold"]["f1"] > 0.8
    assert metrics["fixed_threshold"]["threshold"] == 0.5
    assert metrics["fixed_threshold"]["threshold_source"] == "Otsu of each image"
    assert metrics["fixed_threshold"]["note"] is None
    assert metrics["model"] == {
        "baseline": "difference",
        "floor": "difference",
        "title": "image difference",
    }
    assert metrics["tile_px"] is None
    assert len(list((out / "panels").iterdir())) == 2
    assert (out / "per_image.csv").read_text().count("\n") == 5


def test_an_untrained_method_judges_tiles_of_a_grid_for_themselves(tmp_path: Path):
    data = write_data(tmp_path / "LARGE")
    write_pair(data, "test", 8, side=300)
    after = read_pixels(data / "test/B/test_8.png").copy()
    # Too faint to stand out in the whole image, but alone in its tile.
    after[270:290, 270:290] = after[270:290, 270:290] // 4 * 3
    Image.fromarray(after).save(data / "test/B/test_8.png")
    contents = [
        evaluate_model(request("baseline:cva", data, tmp_path / mode, mode=mode)).to_dict()
        for mode in ("whole", "grid")
    ]
    whole, grid = (content["fixed_threshold"]["confusion"] for content in contents)
    assert sum(whole.values()) == sum(grid.values()) == 4 * 1600 + 90_000
    assert grid["fp"] > whole["fp"]
    assert contents[1]["tile_px"] == 256


def test_a_threshold_is_chosen_on_another_split_and_applied_unchanged(
    tmp_path: Path, model: Path, data: Path
):
    steps: list[tuple[int, int]] = []
    report = evaluate_model(
        request(model, data, tmp_path / "out", threshold_split="val"),
        progress=lambda *step: steps.append(step),
    )
    fixed = report.to_dict()["fixed_threshold"]
    threshold = fixed["threshold"]
    assert threshold != THRESHOLD
    assert fixed["confusion"] == pooled(compare(model, data, "test", threshold))._asdict()
    best = pooled(compare(model, data, "val", threshold)).f1
    others = [k / 1024 for k in (20, 100, 200, 300)]
    assert best >= max(pooled(compare(model, data, "val", other)).f1 for other in others)
    assert fixed["threshold_source"] == "max-F1 on split 'val' of TINY (3 images)"
    assert fixed["note"] is None
    assert report.to_dict()["threshold_split"] == "val"
    assert steps == [(number, 7) for number in range(1, 8)]


def test_the_split_that_chose_the_threshold_is_called_optimistic(tmp_path: Path, data: Path):
    report = evaluate_model(
        request("baseline:cva", data, tmp_path / "out", split="val", threshold_split="val")
    )
    assert report.to_dict()["fixed_threshold"]["note"] == "selection set, optimistic"
    confusion = pooled(compare_baseline("cva", data, "val", report.fixed_threshold.threshold))
    assert report.to_dict()["fixed_threshold"]["confusion"] == confusion._asdict()


def test_a_split_that_cannot_choose_a_threshold_is_named(
    tmp_path: Path, model: Path, blank_labels: Callable[[Path], None]
):
    data = write_data(tmp_path / "TINY")
    blank_labels(data / "val")
    with pytest.raises(DataError, match=r"split 'val' of .*no pixel of the 3 images"):
        evaluate_model(request(model, data, tmp_path / "out", threshold_split="val"))
    with pytest.raises(DataError, match="no split 'night'"):
        evaluate_model(request(model, data, tmp_path / "out", threshold_split="night"))
    with pytest.raises(ConfigError, match="`threshold` and `threshold_split` exclude each other"):
        evaluate_model(request(model, data, tmp_path / "out", threshold=0.2, threshold_split="val"))
    assert not (tmp_path / "out").exists()


def test_views_that_are_averaged_are_told(tmp_path: Path, model: Path, data: Path):
    plain = evaluate_model(request(model, data, tmp_path / "plain")).to_dict()
    turned = evaluate_model(request(model, data, tmp_path / "turned", test_time="turns")).to_dict()
    assert (plain["test_time"], turned["test_time"]) == ("none", "turns")
    assert plain["roc_auc"] != turned["roc_auc"]
    assert plain["fixed_threshold"]["note"] is None
    assert turned["fixed_threshold"]["note"] == (
        "the threshold was chosen for test-time augmentation none, but turns is used"
    )


def test_scores_that_are_probabilities_are_compared_with_shares_of_change(
    tmp_path: Path, data: Path
):
    network = create_model("siamese_pyramid", encoder="test_efficientnet", decoder_width=8)
    card = ModelCard(
        architecture=network.architecture,
        options=network.options,
        normalisation=Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3),
        tile_px=64,
    )
    path = tmp_path / "classifies.safetensors"
    save_model(path, network, card)
    report = evaluate_model(request(path, data, tmp_path / "out"))

    scored = predicted(path, data, "test")
    scores = np.concatenate([score.ravel() for score, _ in scored])
    changed = np.concatenate([label.ravel() for _, label in scored])
    number = np.minimum((scores * 15).astype(int), 14)
    gaps = [abs((scores - changed)[number == one].sum()) for one in range(15)]
    assert report.calibration is not None
    error = report.calibration.expected_calibration_error
    assert error == pytest.approx(sum(gaps) / len(scores), abs=1e-3)
    assert report.calibration.mean_score == pytest.approx(scores.mean(), abs=1e-3)
    assert report.calibration.changed_share == pytest.approx(changed.mean())
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["calibration"]["expected_calibration_error"] == error
    assert (tmp_path / "out" / "reliability.png").is_file()


@pytest.mark.parametrize("method", ["model", "baseline:difference"])
def test_distances_are_no_probabilities(tmp_path: Path, model: Path, data: Path, method: str):
    spec = model if method == "model" else method
    report = evaluate_model(request(spec, data, tmp_path / "out"))
    assert report.to_dict()["calibration"] is None
    assert not (tmp_path / "out" / "reliability.png").exists()
