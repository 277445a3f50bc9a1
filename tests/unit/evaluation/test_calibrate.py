import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image

from changedet.card import ModelCard, read_card, read_precision
from changedet.data.index import PairIndex, index_pairs
from changedet.data.rasters.provenance import record_blocks
from changedet.errors import ConfigError, DataError
from changedet.evaluation.calibrate import (
    CalibrationReport,
    CalibrationRequest,
    calibrate_model,
)
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.evaluation.leakage import find_seen
from changedet.inference.detector import load
from changedet.kinds import KindOfChange
from changedet.metrics.confusion import Confusion
from changedet.metrics.protocol import SELECTION_SET_NOTE
from changedet.models.model_file import load_model, save_model
from changedet.models.registry import create_model
from changedet.selection import Selection
from changedet.types import Normalisation
from stand_ins import untrained_network

pytestmark = pytest.mark.usefixtures("blank_charts")
STATS = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
THRESHOLD = 0.3


def write_model(path: Path, **card: Any) -> Path:
    network = untrained_network()
    chosen = Selection("training", data="TINY", split="val", images=3, epoch=1, batch=2)
    fields = {
        "threshold": THRESHOLD,
        "threshold_selection": chosen,
        "weights_selection": (chosen,),
        "data_name": "TINY",
        "recipe": {"data": {"train_split": "train", "val_split": "val"}},
        "metrics": {"validation": {"max_f1": 0.5}},
        **card,
    }
    save_model(path, network, ModelCard("dasnet", network.options, STATS, tile_px=32, **fields))
    return path


def write_pair(folder: Path, number: int, *, side: int = 40) -> None:
    """A noisy image and the same with a square of other noise, which the label marks."""
    rng = np.random.default_rng(number)
    before = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    after, label = before.copy(), np.zeros((side, side), dtype=np.uint8)
    square = np.s_[4 : 20 + 4 * number, 6:30]
    after[square] = rng.integers(0, 256, after[square].shape, dtype=np.uint8)
    label[square] = 255
    for name, pixels in (("A", before), ("B", after), ("label", label)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "TINY"
    for split, numbers in (("train", (3,)), ("val", (0, 1)), ("test", (2,))):
        for number in numbers:
            write_pair(root / split, number)
    return root


@pytest.fixture
def run(tmp_path: Path, model: Path, data: Path):
    def call(**options: Any) -> CalibrationReport:
        say, progress = options.pop("say", lambda text: None), options.pop("progress", None)
        settings = {"model": model, "out": tmp_path / "new.safetensors", "data": data}
        request = CalibrationRequest(**{**settings, "device": "cpu", **options})
        return calibrate_model(request, say=say, progress=progress)

    return call


def read_pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def figures_by_hand(path: Path, split: Path, thresholds: list[float]) -> list[Confusion]:
    """Predict with a model file as a user would, and count."""
    detector = load(path, device="cpu")
    counts = np.zeros((len(thresholds), 4), dtype=int)
    for file in sorted((split / "A").iterdir()):
        images = read_pixels(file), read_pixels(split / "B" / file.name)
        changed = read_pixels(split / "label" / file.name) == 255
        score = detector.predict(*images).score
        for row, threshold in enumerate(thresholds):
            mask = score >= np.float32(threshold)
            counts[row] += (
                (mask & changed).sum(),
                (mask & ~changed).sum(),
                (~mask & changed).sum(),
                (~mask & ~changed).sum(),
            )
    return [Confusion(*row) for row in counts.tolist()]


@pytest.mark.parametrize(
    ("test_time", "precision"), [(None, "float32"), ("turns", "float16"), ("mirror", "float32")]
)
def test_the_threshold_is_the_best_one_of_the_written_file_as_it_is_used(
    run, data: Path, test_time, precision
):
    report = run(test_time=test_time, precision=precision)
    candidates = [number / 1024 for number in range(1, 1024)]
    f1 = [count.f1 for count in figures_by_hand(report.out, data / "val", candidates)]
    assert report.after.threshold is not None
    (own,) = figures_by_hand(report.out, data / "val", [report.after.threshold])
    assert own.f1 == max(f1)
    assert report.after.f1 == own.f1


def test_the_figures_before_are_those_of_the_file_as_it_was(run, model: Path, data: Path):
    (by_hand,) = figures_by_hand(model, data / "val", [THRESHOLD])
    for options in ({}, {"test_time": "turns", "precision": "float16"}):
        report = run(**options, existing="replace")
        assert report.before == (THRESHOLD, "none", "float32", by_hand.f1)
        assert report.after.f1 > report.before.f1


def test_the_new_card_says_how_it_was_chosen_and_keeps_the_rest(run, model: Path):
    report = run(test_time="flips", precision="float16")
    _, old = load_model(model)
    _, new = load_model(report.out)
    assert new == report.card
    assert new.test_time == "flips"
    assert new.threshold == report.after.threshold
    assert new.threshold_source is not None
    for part in ("'val' of TINY (2 images)", "mode whole", "flips", "float16"):
        assert part in new.threshold_source
    assert new.threshold_selection == Selection(
        "calibration",
        data="TINY",
        split="val",
        images=2,
        mode="whole",
        test_time="flips",
        precision="float16",
    )
    assert new.metrics["validation"] == {"max_f1": 0.5}
    assert new.metrics["calibration"]["f1"] == pytest.approx(report.after.f1)
    assert new.metrics["calibration"]["note"] == SELECTION_SET_NOTE
    assert new.selection_source == old.threshold_source
    changed = {"threshold", "threshold_selection", "test_time", "metrics"}
    for field in dataclasses.fields(ModelCard):
        if field.name not in changed:
            assert getattr(new, field.name) == getattr(old, field.name), field.name


def test_names_with_quotes_and_brackets_do_not_hide_which_images_chose(
    tmp_path: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
):
    data = shutil.copytree(data, tmp_path / "tiles (12 images), old")

    def named(*args: Any, **options: Any) -> PairIndex:
        index = index_pairs(*args, **options)
        return dataclasses.replace(index, splits={**index.splits, "bob's val": index.split("test")})

    for module in ("model_data", "evaluate"):
        monkeypatch.setattr(f"changedet.evaluation.{module}.index_pairs", named)
    out = tmp_path / "new.safetensors"
    calibrate_model(CalibrationRequest(model, out, data, split="bob's val", device="cpu"))
    assert read_card(out).threshold_source.startswith(
        'max-F1 on split "bob\'s val" of tiles (12 images), old (1 image), calibrated'
    )
    for split, note in (("bob's val", SELECTION_SET_NOTE), ("val", None)):
        request = EvaluationRequest(out, data, tmp_path / split, split=split, device="cpu")
        assert evaluate_model(request).to_dict()["fixed_threshold"]["note"] == note


def test_float16_weights_halve_the_file_and_are_those_that_were_scored(run, model: Path):
    report = run(precision="float16")
    assert report.size_bytes == report.out.stat().st_size
    # The header and the statistics of batch norm are as large as before.
    assert report.size_bytes < 0.53 * model.stat().st_size
    assert read_precision(report.out) == "float16"
    stored = safetensors.torch.load_file(report.out)
    assert stored["encoder.backbone.conv_stem.weight"].dtype == torch.float16
    again = run(model=report.out, precision="float16", existing="replace")
    assert again.before == report.after
    assert again.after == report.after


def test_a_stored_augmentation_stays_unless_another_is_asked_for(run, tmp_path: Path):
    first = run(test_time="mirror")
    second = run(model=first.out, out=tmp_path / "second.safetensors")
    assert second.before == second.after == first.after
    third = run(model=first.out, out=tmp_path / "third.safetensors", test_time="none")
    assert third.before == first.after
    assert third.card.test_time == "none"


def test_figures_are_optimistic_where_the_weights_were_chosen_and_where_the_threshold_was(
    run, data: Path, tmp_path: Path
):
    other = tmp_path / "OTHER"
    shutil.copytree(data, other)

    def note(calibrated: Path, root: Path, split: str) -> str | None:
        target = tmp_path / "judged"
        report = evaluate_model(
            EvaluationRequest(
                str(calibrated), root, target, split, device="cpu", panels=0, existing="replace"
            )
        )
        return report.fixed_threshold.note

    once = run(data=other).out
    again = run(model=once, data=other, split="test", out=tmp_path / "again.safetensors").out
    for file, optimistic in (
        (once, [(data, "val"), (other, "val")]),
        # What the threshold comes from no more counts no more.
        (again, [(data, "val"), (other, "test")]),
    ):
        for root, split in [(data, "val"), (data, "test"), (other, "val"), (other, "test")]:
            expected = SELECTION_SET_NOTE if (root, split) in optimistic else None
            assert note(file, root, split) == expected, (file.name, root.name, split)
    assert note(again, data, "train") == "training set, optimistic"


def test_side_by_side_tiles_choose_for_themselves(run):
    whole, grid = run(), run(mode="grid", existing="replace")
    assert "mode grid" in grid.card.threshold_source
    assert grid.after.f1 != whole.after.f1


@pytest.mark.parametrize(("options", "passes"), [({}, 1), ({"test_time": "mirror"}, 2)])
def test_pairs_are_counted_up_over_as_many_passes_as_are_needed(run, options, passes: int):
    seen: list[tuple[int, int]] = []
    run(**options, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number + 1, 2 * passes) for number in range(2 * passes)]


def test_a_model_without_a_threshold_gets_one(run, tmp_path: Path):
    bare = write_model(tmp_path / "bare.safetensors", threshold=None, threshold_selection=None)
    report = run(model=bare, test_time="mirror")
    assert report.before == (None, "none", "float32", None)
    assert report.card.threshold is not None


def test_nothing_is_overwritten_unless_it_is_allowed(run, tmp_path: Path):
    own = write_model(tmp_path / "own.safetensors")
    content = own.read_bytes()
    with pytest.raises(ConfigError, match=r"own\.safetensors exists; .*`existing=.replace.`"):
        run(model=own, out=own)
    assert own.read_bytes() == content
    report = run(model=own, out=own, existing="replace", precision="float16")
    assert load(own, device="cpu").threshold == report.after.threshold
    with pytest.raises(ConfigError, match=r"model file must end in \.safetensors, got 'new\.pth'"):
        run(out=tmp_path / "new.pth")


def test_the_training_split_is_refused_unless_it_is_the_validation_split(run, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"was trained on split 'train' of TINY.*validation"):
        run(split="train")
    assert not (tmp_path / "new.safetensors").exists()
    both = {"data": {"train_split": "train", "val_split": "train"}}
    same = write_model(tmp_path / "same.safetensors", recipe=both)
    assert run(model=same, split="train").images == 1
    other = write_model(tmp_path / "other.safetensors", data_name="ELSEWHERE")
    assert run(model=other, split="train", existing="replace").images == 1


def test_what_the_data_say_is_told(run):
    said: list[str] = []
    run(say=said.append)
    assert any(text.startswith("labels: ") for text in said)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": "rest"}, DataError, "no split 'rest'; choose one of: train, val, test"),
        ({"device": "tpu"}, ConfigError, "unknown device 'tpu'"),
        ({"test_time": "rotate"}, ConfigError, "test_time must be one of none, mirror"),
        ({"precision": "int4"}, ConfigError, "precision must be one of float32, float16"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    run, tmp_path: Path, options, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        run(**options)
    assert list(tmp_path.iterdir()) == []


def test_a_split_without_change_chooses_nothing(run, own_pairs_folder: Path, blank_labels):
    blank_labels(own_pairs_folder / "val")
    with pytest.raises(DataError, match="no pixel of the 2 images is labelled changed"):
        run(data=own_pairs_folder)


def test_other_values_than_those_of_the_training_are_refused(run, tmp_path: Path):
    deep = write_model(tmp_path / "deep.safetensors", pixel_type="uint16")
    with pytest.raises(ConfigError, match=r"trained on uint16 values, .*TINY has uint8"):
        run(model=deep)


def test_labels_are_read_as_in_training_on_the_same_data(run, data: Path, tmp_path: Path):
    label = {"kind": "declared", "changed": [0], "ignore_value": 7}
    swapped = write_model(tmp_path / "swapped.safetensors", label=label)
    said: list[str] = []
    report = run(model=swapped, say=said.append, ignore_value=9)
    changed = sum((read_pixels(path) == 0).sum() for path in (data / "val/label").iterdir())
    (by_hand,) = figures_by_hand(swapped, data / "val", [THRESHOLD])
    assert by_hand.fp + by_hand.tn == changed
    # All is taken for changed where that is best: recall of the swapped labels is then 1.
    assert report.card.metrics["calibration"]["recall"] > 0.9
    assert any("0" in text and text.startswith("labels: ") for text in said)


class TestScenes:
    """The blocks that choose are noted, as those of the training are."""

    def test_blocks_that_were_trained_on_are_refused(self, run, tmp_path: Path, write_scene):
        manifest = write_scene().manifest
        index = index_pairs(manifest)
        blocks = record_blocks(index.split("train"), index.split("val"), gap_px=4)
        model = write_model(tmp_path / "scenes.safetensors", blocks=blocks)
        with pytest.raises(ConfigError, match="was trained on split 'train'"):
            run(model=model, data=manifest, split="train")

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_the_blocks_that_chose_are_added_to_the_record(
        self, run, tmp_path: Path, write_scene, split: str
    ):
        manifest = write_scene().manifest
        index = index_pairs(manifest)
        blocks = record_blocks(index.split("train"), index.split("val"), gap_px=4)
        model = write_model(tmp_path / "scenes.safetensors", blocks=blocks)
        said: list[str] = []
        card = run(model=model, data=manifest, split=split, say=said.append).card
        for chosen in {"val", split}:
            seen = find_seen(card, index, split=chosen)
            assert seen.chosen_on == seen.blocks == len(index.split(chosen))
        assert card.blocks["scenes"][0]["training"] == blocks["scenes"][0]["training"]
        windows = card.blocks["scenes"][0]["validation"]
        assert len(windows) == len({tuple(window) for window in windows})
        assert len(card.blocks["scenes"]) == 1
        assert any("scenes" in text for text in said)

    @pytest.mark.parametrize("known", [None, {"gap_px": 8, "scenes": []}])
    def test_scenes_that_the_model_never_met_are_noted_too(
        self, run, tmp_path: Path, write_scene, known
    ):
        manifest = write_scene().manifest
        model = write_model(tmp_path / "pairs.safetensors", blocks=known)
        card = run(model=model, data=manifest).card
        index = index_pairs(manifest)
        seen = find_seen(card, index, split="val")
        assert seen.chosen_on == seen.blocks > 0
        assert seen.trained_on == 0
        assert card.blocks["gap_px"] == (4 if known is None else 8)


def write_classifier(path: Path, **card: Any) -> Path:
    torch.manual_seed(0)
    network = create_model("siamese_pyramid", encoder="test_efficientnet", decoder_width=8).eval()
    with torch.no_grad():
        # Scores that spread, and are too sure of themselves.
        network.predict.weight *= 40
    fields = {"tile_px": 64, "threshold": 0.25, "test_time": "none", **card}
    options = network.options
    save_model(path, network, ModelCard("siamese_pyramid", options, STATS, **fields))
    return path


def test_a_temperature_makes_scores_probabilities_and_the_same_pixels_change(
    run, data: Path, tmp_path: Path
):
    model = write_classifier(tmp_path / "classifier.safetensors")
    plain = run(model=model)
    assert (plain.temperature, plain.card.kinds) == (None, ())
    warm = run(model=model, temperature=True, out=tmp_path / "warm.safetensors")
    assert warm.temperature is not None
    assert warm.temperature != 1.0
    assert warm.errors is not None
    assert warm.errors[1] < warm.errors[0] == plain.errors[0]
    assert warm.card.metrics["calibration"]["expected_calibration_error"] == warm.errors[1]
    (kind,) = read_card(warm.out).kinds
    assert (kind.name, kind.temperature) == ("any", warm.temperature)
    assert kind.threshold == warm.after.threshold == read_card(warm.out).threshold
    by_hand = [
        figures_by_hand(one.out, data / "val", [one.after.threshold])[0] for one in (plain, warm)
    ]
    assert by_hand[0] == by_hand[1]
    judged = evaluate_model(
        EvaluationRequest(warm.out, data, tmp_path / "judged", split="val", device="cpu", panels=0)
    )
    assert judged.calibration is not None
    error = judged.calibration.expected_calibration_error
    assert error == pytest.approx(warm.errors[1], abs=2e-3)


def test_a_temperature_that_is_stored_is_fitted_again_unless_it_is_to_stay(run, tmp_path: Path):
    model = write_classifier(tmp_path / "classifier.safetensors")
    first = run(model=model, temperature=True, out=tmp_path / "first.safetensors")
    kinds = (dataclasses.replace(first.card.kinds[0], temperature=first.temperature * 3),)
    off = write_classifier(tmp_path / "off.safetensors", kinds=kinds)
    again = run(model=off, out=tmp_path / "again.safetensors")
    assert again.temperature == pytest.approx(first.temperature, rel=0.02)
    assert again.after.f1 == pytest.approx(first.after.f1, abs=2e-3)
    kept = run(model=off, temperature=False, out=tmp_path / "kept.safetensors")
    assert kept.temperature == kept.card.kinds[0].temperature == kinds[0].temperature


def test_only_the_kind_that_is_calibrated_gets_a_temperature(run, tmp_path: Path):
    network = create_model(
        "siamese_pyramid", encoder="test_efficientnet", decoder_width=8, kinds=("any", "building")
    ).eval()
    kinds = (KindOfChange("any", 0.4), KindOfChange("building", 0.5))
    card = ModelCard(
        "siamese_pyramid", network.options, STATS, tile_px=64, threshold=0.4, kinds=kinds
    )
    path = tmp_path / "two.safetensors"
    save_model(path, network, card)
    report = run(model=path, kind="building", temperature=True)
    first, second = report.card.kinds
    assert first == kinds[0]
    assert report.card.threshold == 0.4
    assert second.temperature == report.temperature
    assert second.threshold == report.after.threshold


def test_distances_have_no_temperature(run):
    with pytest.raises(ConfigError, match="are distances, which no temperature makes"):
        run(temperature=True)
    report = run()
    assert (report.errors, report.temperature) == (None, None)
    assert "expected_calibration_error" not in report.card.metrics["calibration"]
