import json

import numpy as np
import pytest
from PIL import Image

from changedet.data.tools.check import check_pairs
from changedet.errors import DataError


def draw(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def data(tmp_path):
    """A sound data set: six pairs of 16 x 16 in train, three in val, a quarter of them changed."""
    rng = np.random.default_rng(0)
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:8, :8] = 255
    for split, number in (("train", 6), ("val", 3)):
        for stem in range(number):
            for date in ("A", "B"):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                draw(tmp_path / split / date / f"{split}{stem}.png", pixels)
            draw(tmp_path / split / "label" / f"{split}{stem}.png", mask)
    return tmp_path


def text(sentences):
    return "\n".join(sentences)


def test_a_sound_data_set_passes_with_its_facts(data):
    report = check_pairs(data)

    assert report.passed
    assert report.errors == report.warnings == ()
    assert report.encoding == "0 = unchanged, 255 = changed"
    assert report.splits["train"].pairs == 6
    assert report.splits["val"].changed_share == pytest.approx(0.25)
    assert report.sizes == {"16x16": 9}
    assert report.measured_split == "train"


def test_the_figures_by_date_are_those_of_the_training_images(data):
    pixels = [np.asarray(Image.open(path)) for path in (data / "train" / "B").iterdir()]
    stacked = np.stack(pixels).reshape(-1, 3).astype(float)

    after = check_pairs(data).dates["after"]

    np.testing.assert_allclose(after.mean, stacked.mean(axis=0))
    np.testing.assert_allclose(after.std, stacked.std(axis=0))


def test_a_report_is_plain_json(data):
    fields = json.loads(json.dumps(check_pairs(data).to_dict()))

    assert fields["passed"] is True
    assert fields["splits"]["train"] == {
        "pairs": 6,
        "changed_share": 0.25,
        "empty": 0,
        "full": 0,
    }
    assert fields["dates"]["before"]["mean"]


def test_all_faults_are_found_in_one_go(data):
    (data / "train" / "B" / "train0.png").unlink()
    broken = data / "train" / "A" / "train1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    draw(data / "train" / "B" / "train2.png", np.zeros((16, 8, 3), np.uint8))
    draw(data / "train" / "label" / "train3.png", np.full((8, 16), 255, np.uint8))
    draw(data / "val" / "B" / "val0.png", np.zeros((16, 16, 4), np.uint8))
    odd = np.zeros((16, 16), np.uint8)
    odd[0, :3] = (1, 2, 255)
    draw(data / "val" / "label" / "val1.png", odd)

    report = check_pairs(data)
    errors = text(report.errors)

    assert not report.passed
    assert "no partner for train0" in errors
    assert "train1.png: damaged or truncated" in errors
    assert "train/train2: the sizes differ: before 16x16, after 8x16, label 16x16" in errors
    assert "train/train3: the sizes differ: before 16x16, after 16x16, label 16x8" in errors
    assert "val0.png: expected an 8-bit RGB image" in errors
    assert "val1.png: values 0, 1, 2, 255" in errors
    assert len(report.errors) == 6
    assert report.encoding is None
    assert report.splits["val"].changed_share is None


def test_an_unreadable_label_does_not_hide_the_others(data):
    (data / "val" / "label" / "val0.png").write_bytes(b"")

    report = check_pairs(data)

    assert "val0.png" in text(report.errors)
    assert report.splits["val"].changed_share == pytest.approx(0.25)


def test_empty_and_full_labels_are_warnings_with_names(data):
    draw(data / "train" / "label" / "train4.png", np.zeros((16, 16), np.uint8))
    draw(data / "val" / "label" / "val2.png", np.full((16, 16), 255, np.uint8))

    report = check_pairs(data)

    assert report.passed
    assert "train: 1 of 6 labels are empty (no changed pixel): train4" in report.warnings
    assert "val: 1 of 3 labels are 100 % changed: val2" in report.warnings
    assert (report.splits["train"].empty, report.splits["val"].full) == (1, 1)


@pytest.mark.parametrize(("value", "word"), [(0, "no"), (255, "every")])
def test_training_labels_of_one_class_name_the_setting(data, value, word):
    for path in (data / "train" / "label").iterdir():
        draw(path, np.full((16, 16), value, np.uint8))

    report = check_pairs(data)

    assert report.passed
    assert f"{word} pixel of the training labels is changed" in text(report.warnings)
    assert "loss.changed_share" in text(report.warnings)


def test_validation_labels_without_change_are_warned_of(data):
    for path in (data / "val" / "label").iterdir():
        draw(path, np.zeros((16, 16), np.uint8))

    assert "data.val_split" in text(check_pairs(data).warnings)


def test_content_that_is_in_two_splits_is_a_leak(data):
    source = data / "train" / "A" / "train5.png"
    (data / "val" / "A" / "val1.png").write_bytes(source.read_bytes())

    report = check_pairs(data)

    assert report.passed
    assert "leak: 1 images of train have the same content as images of val" in text(report.warnings)
    assert "train/train5 = val/val1" in text(report.warnings)


def test_a_name_in_two_splits_is_told_but_no_warning(data):
    for folder in ("A", "B", "label"):
        (data / "val" / folder / "val0.png").rename(data / "val" / folder / "train0.png")

    report = check_pairs(data)

    assert report.warnings == ()
    assert "1 names are in more than one split (train0)" in report.notes[0]


def test_one_file_for_both_dates_is_a_warning(data):
    before = data / "val" / "A" / "val1.png"
    (data / "val" / "B" / "val1.png").write_bytes(before.read_bytes())

    assert "same file content in 1 pairs: val/val1" in text(check_pairs(data).warnings)


def test_a_missing_train_split_is_a_warning_and_another_is_measured(data):
    (data / "train").rename(data / "elsewhere")

    report = check_pairs(data)

    assert "there is no train split" in report.warnings
    assert report.measured_split == "val"


def test_a_missing_validation_split_is_a_warning(data):
    (data / "val").rename(data / "elsewhere")
    assert "there is no val split" in check_pairs(data).warnings


def test_declared_values_are_used(data):
    three = np.zeros((16, 16), np.uint8)
    three[0, 0] = 9
    draw(data / "train" / "label" / "train0.png", three)
    assert not check_pairs(data).passed

    report = check_pairs(data, ignore_value=9)

    assert report.passed
    assert "9 = ignored" in report.encoding


def test_lists_that_are_empty_are_errors_of_the_report(data):
    (data / "train.txt").write_text("")

    report = check_pairs(data)

    assert "is empty" in text(report.errors)
    assert report.splits == {}
    assert report.measured_split is None


def test_grey_images_pass_where_one_channel_is_expected(tmp_path):
    for folder in ("A", "B", "label"):
        draw(tmp_path / "train" / folder / "1.png", np.eye(16, dtype=np.uint8) * 255)

    assert not check_pairs(tmp_path).passed
    assert check_pairs(tmp_path, channels=1).passed


def test_a_wrong_folder_is_an_error_of_the_user(tmp_path):
    with pytest.raises(DataError, match="not there"):
        check_pairs(tmp_path / "nowhere")
