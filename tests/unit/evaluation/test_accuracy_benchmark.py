import json
import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from changedet.card import ModelCard
from changedet.data.labelled import DecodedPair
from changedet.errors import ChangeDetError, ConfigError, DataError
from changedet.evaluation.benchmark import methods as methods_module
from changedet.evaluation.benchmark.benchmark import measure_accuracy
from changedet.evaluation.benchmark.request import AccuracyRequest
from changedet.evaluation.cost import measure_cost
from changedet.evaluation.object_figures import object_figures
from changedet.inference.detector import load
from changedet.inference.opening import open_detector
from changedet.inference.score_source import source_of
from changedet.metrics.objects import ObjectCounter, object_result
from changedet.metrics.protocol import SELECTION_SET_NOTE, choose_threshold
from changedet.models.model_file import save_model
from changedet.selection import Selection
from changedet.storage.results import to_plain
from changedet.types import Normalisation
from stand_ins import untrained_network

pytestmark = pytest.mark.usefixtures("blank_charts")
SIDE = 64
SPLITS = {"train": 2, "val": 2, "test": 3}


def write_model(path: Path, **card: Any) -> Path:
    model = untrained_network("dasnet_v2")
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    chosen = Selection("other", text="somebody")
    fields = {"tile_px": SIDE, "threshold": 0.2, "threshold_selection": chosen, **card}
    save_model(path, model, ModelCard(model.architecture, model.options, statistics, **fields))
    return path


def write_pair(root: Path, split: str, number: int) -> None:
    """Two images of smooth ground; the label marks a patch that became bright."""
    rng = np.random.default_rng([number, *map(ord, split)])
    cells = rng.integers(40, 150, (8, 8, 3)).astype(np.float64)
    before = np.kron(cells, np.ones((SIDE // 8, SIDE // 8, 1)))
    after = before + rng.normal(0.0, 6.0, before.shape)
    label = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for patch in (np.s_[4:24, 6:26], np.s_[40:46, 40 : 46 + number]):
        after[patch] += 90.0
        label[patch] = 255
    for folder, pixels in (("A", before), ("B", after.clip(0, 255)), ("label", label)):
        (root / split / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / split / folder / f"{number}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "TINY"
    for split, count in SPLITS.items():
        for number in range(count):
            write_pair(root, split, number)
    return root


@pytest.fixture
def own_data(tmp_path: Path, data: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "TINY"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(autouse=True)
def one_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods_module, "list_baselines", lambda: ["difference"])


def request(data: Path, out: Path, *methods: object, **options: Any) -> AccuracyRequest:
    fields = {"device": "cpu", "resamples": 50, **options}
    return AccuracyRequest(tuple(map(str, methods)), data, out, **fields)


def read_split(data: Path, split: str):
    for path in sorted((data / split / "A").iterdir()):
        before, after, label = (
            np.asarray(Image.open(data / split / folder / path.name))
            for folder in ("A", "B", "label")
        )
        yield DecodedPair(before, after, (label > 0).astype(np.uint8))


def test_figures_are_those_of_scoring_and_counting_by_hand(tmp_path, data, model):
    said, steps = [], []
    report = measure_accuracy(
        request(data, tmp_path / "out", model, gsd_m=0.5),
        say=said.append,
        progress=lambda done, total: steps.append((done, total)),
    )
    # Two methods, two views, five pairs of val and test.
    assert steps == [(done, 20) for done in range(1, 21)]
    found = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert found == report.to_dict()
    assert [entry["title"] for entry in found["methods"]] == [
        "tiny.safetensors",
        "image difference",
    ]
    for entry, spec in zip(found["methods"], (str(model), "baseline:difference"), strict=True):
        source = source_of(open_detector(spec, device="cpu"))
        for view, mode, tile_px in zip(entry["views"], ("grid", "whole"), (256, None), strict=True):
            how = {"mode": mode, "tile_px": tile_px}
            threshold = choose_threshold(source.count(read_split(data, "val"), **how))
            assert view["threshold"] == threshold
            assert view["threshold_source"].startswith("max-F1 on split 'val' of TINY (2 images)")
            tp = fp = fn = 0
            objects = ObjectCounter()
            scored = []
            source.count(read_split(data, "test"), **how, on_score=scored.append)
            for one in scored:
                mask, label = one.score >= np.float32(threshold), one.pair.label
                objects.add(mask, label)
                tp += int((mask & (label == 1)).sum())
                fp += int((mask & (label == 0)).sum())
                fn += int((~mask & (label == 1)).sum())
            assert view["pixels"]["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
            by_hand = object_result(objects.compute(), resamples=50)
            assert view["objects"] == to_plain(object_figures(by_hand, gsd_m=0.5))
            assert view["note"] is None
    assert any("tiny.safetensors: F1 " in line for line in said)
    assert any(line.startswith("labels: ") for line in said)


def test_cost_and_origin_are_written_down(tmp_path, data, model):
    report = measure_accuracy(
        request(data, tmp_path / "out", model, command="changedet benchmark", seed=3)
    ).to_dict()
    network, baseline = report["methods"]
    parameters = sum(value.numel() for value in load(model, device="cpu").model.parameters())
    assert network["cost"]["parameters"] == parameters
    assert network["cost"]["side_px"] == 256
    assert network["cost"]["gflop"] > 1.0
    assert network["file_mb"] == pytest.approx(model.stat().st_size / 1e6)
    assert (baseline["cost"], baseline["file_mb"], baseline["kind"]) == (None, None, "baseline")
    origin = report["origin"]
    assert (origin["command"], origin["seed"], origin["device"]) == (
        "changedet benchmark",
        3,
        "cpu",
    )
    assert origin["software"]["torch"] == metadata.version("torch")
    assert origin["time"].endswith("+00:00")
    assert report["data"]["training_splits"] == ["train"]


def test_an_exported_model_is_judged_like_any_other(tmp_path, data):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from graphs import write_graph

    exported = write_graph(tmp_path / "drawn.onnx")
    report = measure_accuracy(request(data, tmp_path / "out", exported, baselines="none"))
    (entry,) = report.to_dict()["methods"]
    assert (entry["kind"], entry["cost"]) == ("model", None)
    assert entry["file_mb"] == pytest.approx(exported.stat().st_size / 1e6)
    assert entry["views"][0]["pixels"]["f1"] > 0.9


def test_the_split_that_is_reported_may_choose_but_is_labelled(tmp_path, data):
    report = measure_accuracy(request(data, tmp_path / "out", split="val", threshold_split="val"))
    (entry,) = report.methods
    assert entry.note == SELECTION_SET_NOTE
    assert {view.pixels.note for view in entry.views} == {SELECTION_SET_NOTE}
    assert SELECTION_SET_NOTE in (tmp_path / "out" / "accuracy.md").read_text()
    assert SELECTION_SET_NOTE in (tmp_path / "out" / "accuracy.html").read_text()


def test_a_model_that_was_chosen_on_the_reported_split_is_labelled_whoever_gives_the_threshold(
    tmp_path, data
):
    chosen = write_model(
        tmp_path / "chosen.safetensors",
        data_name="TINY",
        weights_selection=(
            Selection("training", data="TINY", split="test", images=3, epoch=1, batch=2),
        ),
    )
    report = measure_accuracy(request(data, tmp_path / "out", chosen))
    assert [entry.note for entry in report.methods] == [SELECTION_SET_NOTE, None]


def test_stored_thresholds_are_applied_and_need_no_other_split(tmp_path, own_data, model):
    shutil.rmtree(own_data / "val")
    report = measure_accuracy(request(own_data, tmp_path / "out", model, threshold="stored"))
    network, baseline = report.methods
    assert {view.pixels.threshold for view in network.views} == {0.2}
    assert {view.threshold_source for view in network.views} == {"somebody"}
    assert {view.threshold_source for view in baseline.views} == {"Otsu of each image"}
    assert report.data.threshold_split is None
    assert "each method at its own threshold" in (tmp_path / "out" / "accuracy.md").read_text()


def test_views_that_are_averaged_are_the_models_own_or_those_asked_for(tmp_path, data):
    turning = write_model(tmp_path / "m.safetensors", test_time="mirror")
    own = measure_accuracy(request(data, tmp_path / "own", turning)).to_dict()["methods"]
    asked = measure_accuracy(
        request(data, tmp_path / "asked", turning, test_time="turns", threshold="stored")
    ).to_dict()["methods"]
    assert [entry["test_time"] for entry in own] == ["mirror", "none"]
    assert [entry["test_time"] for entry in asked] == ["turns", "none"]
    one = measure_cost(load(turning, device="cpu").model).gflop
    for entry, times in ((own[0], 2), (asked[0], 8)):
        assert entry["cost"]["views"] == times
        assert entry["cost"]["gflop"] == pytest.approx(times * one)
    assert own[0]["note"] is None
    sentence = "the threshold was chosen for test-time augmentation mirror, but turns is used"
    assert [entry["note"] for entry in asked] == [sentence, None]
    text = (tmp_path / "asked" / "accuracy.md").read_text()
    assert "over all views of test-time augmentation" in text
    assert sentence in text


def test_the_weights_of_the_deep_baseline_can_be_chosen(tmp_path, data, monkeypatch):
    opened = []

    def spy(spec, **options):
        opened.append((spec, options["encoder_weights"]))
        return open_detector(spec, **options)

    monkeypatch.setattr(methods_module, "open_detector", spy)
    monkeypatch.setattr(methods_module, "list_baselines", lambda: ["difference", "deep_difference"])
    report = measure_accuracy(request(data, tmp_path / "out", encoder_weights="none"))
    assert opened == [("baseline:difference", None), ("baseline:deep_difference", "none")]
    assert report.methods[1].facts["encoder_weights"] == "none"
    # Weights that were named and cannot be had are no reason to go on without them.
    with pytest.raises(ChangeDetError, match=r"nowhere\.safetensors"):
        measure_accuracy(request(data, tmp_path / "no", encoder_weights="nowhere.safetensors"))


def test_a_model_without_a_threshold_is_refused_where_its_own_is_asked_for(tmp_path, data):
    bare = write_model(tmp_path / "bare.safetensors", threshold=None, threshold_selection=None)
    with pytest.raises(ConfigError, match=r"bare\.safetensors has no threshold; have one chosen"):
        measure_accuracy(request(data, tmp_path / "out", bare, threshold="stored"))


def test_images_seen_in_training_are_named_and_the_figures_without_them_given(tmp_path, own_data):
    for folder in ("A", "B", "label"):
        shutil.copy(own_data / "train" / folder / "0.png", own_data / "test" / folder / "1.png")
    said = []
    report = measure_accuracy(request(own_data, tmp_path / "out"), say=said.append)
    found = report.to_dict()["near_duplicates"]
    assert found["repeats_of_training"] == 1
    by_split = {split["split"]: split for split in found["splits"]}
    assert by_split["val"]["repeated"] == 0
    assert by_split["train"]["identical"] == 1
    (pair,) = by_split["train"]["pairs"]
    assert (pair["name"], pair["other"], pair["relation"]) == ("1", "0", "identical")
    assert any("1 of 3 images are near-duplicates of images of split 'train'" in s for s in said)
    for folder in ("A", "B", "label"):
        (own_data / "test" / folder / "1.png").unlink()
    clean = measure_accuracy(request(own_data, tmp_path / "clean"))
    for view, rest in zip(report.methods[0].views, clean.methods[0].views, strict=True):
        assert view.without_near_duplicates.images == 2
        assert view.without_near_duplicates.f1 == pytest.approx(rest.pixels.f1)
        assert view.without_near_duplicates.object_f1 == pytest.approx(rest.objects.f1)
    text = (tmp_path / "out" / "accuracy.md").read_text()
    assert "1 of the 3 pairs are near-duplicates of training pairs" in text
    assert "Without near-duplicates of training images" in text
    assert (
        "Without near-duplicates of training images"
        not in (tmp_path / "clean" / "accuracy.md").read_text()
    )


def test_a_test_set_that_is_all_seen_leaves_no_figures_without(tmp_path, own_data):
    shutil.rmtree(own_data / "test")
    shutil.copytree(own_data / "train", own_data / "test")
    report = measure_accuracy(request(own_data, tmp_path / "out"))
    assert report.methods[0].views[0].without_near_duplicates is None
    assert "0 of 2 pairs remain" in (tmp_path / "out" / "accuracy.md").read_text()


def test_without_a_training_split_the_lack_of_a_comparison_is_said(tmp_path, own_data):
    shutil.rmtree(own_data / "train")
    report = measure_accuracy(request(own_data, tmp_path / "out"))
    assert report.near_duplicates.repeats_of_training is None
    assert report.to_dict()["near_duplicates"]["repeats_of_training"] is None
    assert "No training split is known" in (tmp_path / "out" / "accuracy.md").read_text()
    shutil.rmtree(own_data / "val")
    measure_accuracy(request(own_data, tmp_path / "alone", threshold="stored"))
    assert "no other split to compare with" in (tmp_path / "alone" / "accuracy.md").read_text()


def test_too_many_images_are_compared_in_one_frame_only_and_that_is_said(
    tmp_path, data, monkeypatch
):
    monkeypatch.setattr("changedet.evaluation.benchmark.repeats.MOST_SHIFTED_COMPARISONS", 1)
    said = []
    report = measure_accuracy(request(data, tmp_path / "out"), say=said.append)
    assert {split.shifts for split in report.near_duplicates.splits} == {"none"}
    assert any("shifted frames were not searched" in line for line in said)
    assert "not searched" in (tmp_path / "out" / "accuracy.md").read_text()


def test_a_baseline_that_cannot_be_opened_is_left_out_and_named(tmp_path, data, monkeypatch):
    monkeypatch.setattr(methods_module, "list_baselines", lambda: ["difference", "no_such"])
    report = measure_accuracy(request(data, tmp_path / "out"))
    assert [entry.title for entry in report.methods] == ["image difference"]
    assert report.left_out[0].startswith("baseline:no_such is skipped: baseline 'no_such' does not")
    assert "baseline:no_such is skipped" in (tmp_path / "out" / "accuracy.html").read_text()
    monkeypatch.setattr(methods_module, "list_baselines", lambda: ["no_such"])
    with pytest.raises(ConfigError, match="none of the untrained methods"):
        measure_accuracy(request(data, tmp_path / "none"))


def test_a_baseline_that_is_named_is_judged_once_and_files_of_one_name_are_told_apart(
    tmp_path, data, model
):
    twin = Path(shutil.copy(model, tmp_path / model.name))
    report = measure_accuracy(request(data, tmp_path / "out", twin, "baseline:difference", model))
    titles = [entry.title for entry in report.methods]
    assert titles == [str(twin), "image difference", str(model)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baselines": "none"}, "there is nothing to evaluate"),
        ({"test_time": "turns"}, "`test_time` applies to models only, and none is given"),
        (
            {"methods": ("baseline:cva",), "baselines": "none", "encoder_weights": "hub"},
            "`encoder_weights` applies to baseline:deep_difference only, which is not evaluated",
        ),
        ({"gsd_m": 0.0}, "`gsd_m` is the side of a pixel in metres and must be above 0, got 0"),
        (
            {"duplicate_limit": 1.5},
            r"`duplicate_limit` is a correlation and must be in \(0, 1\], got 1.5",
        ),
        ({"resamples": 0}, "at least 1 draw"),
        ({"seed": -1}, "a seed of 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused_first(tmp_path, options, message):
    methods = options.pop("methods", ())
    with pytest.raises(ConfigError, match=message):
        measure_accuracy(request(tmp_path / "nowhere", tmp_path / "out", *methods, **options))


def test_a_method_that_is_named_twice_is_refused(tmp_path):
    twice = request(tmp_path, tmp_path / "out", "baseline:cva", "floor:cva")
    with pytest.raises(ConfigError, match="baseline:cva is given more than once"):
        measure_accuracy(twice)


def test_splits_that_are_missing_or_without_change_are_refused(tmp_path, own_data):
    with pytest.raises(DataError, match="has no split 'west'"):
        measure_accuracy(request(own_data, tmp_path / "out", split="west"))
    for path in (own_data / "val" / "label").iterdir():
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(path)
    with pytest.raises(DataError, match=r"split 'val' of .* has no changed pixel"):
        measure_accuracy(request(own_data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_values_is_refused(tmp_path, data):
    wide = write_model(tmp_path / "wide.safetensors", pixel_type="uint16")
    with pytest.raises(ConfigError, match=r"was trained on uint16 values, but .* has uint8"):
        measure_accuracy(request(data, tmp_path / "out", wide))


def test_labels_are_read_as_they_were_declared_in_training(tmp_path, own_data):
    for path in own_data.glob("*/label/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 255 * 7).save(path)
    declared = {"kind": "declared", "changed": [7], "ignore_value": None}
    model = write_model(tmp_path / "m.safetensors", data_name="TINY", label=declared)
    report = measure_accuracy(request(own_data, tmp_path / "out", model))
    assert report.data.label.changed == (7,)
    assert report.methods[1].views[0].pixels.confusion.tp > 0


def test_results_of_another_benchmark_are_only_replaced_when_asked(tmp_path, data):
    asked = request(data, tmp_path / "out")
    measure_accuracy(asked)
    with pytest.raises(ConfigError, match=r"contains the results of another run \(accuracy.json\)"):
        measure_accuracy(asked)
    again = measure_accuracy(replace(asked, existing="replace", seed=1))
    assert json.loads((tmp_path / "out" / "accuracy.json").read_text()) == again.to_dict()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["accuracy.html", "accuracy.json", "accuracy.md", "size_recall.png"]
    page = (tmp_path / "out" / "accuracy.html").read_text()
    assert 'aria-label="Share of the labelled objects found: ' in page
    assert "<img" not in page
    assert "](size_recall.png)" in (tmp_path / "out" / "accuracy.md").read_text()
