import pytest

from changedet.errors import ConfigError
from changedet.selection import Selection

ON_VAL = {"data": "TOWN", "split": "val", "images": 2}


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        (
            Selection("training", **ON_VAL, epoch=3, batch=40),
            "max-F1 on split 'val' of TOWN (2 images), epoch 3, batch 40",
        ),
        (
            Selection(
                "calibration", **ON_VAL, mode="whole", test_time="flips", precision="float16"
            ),
            "max-F1 on split 'val' of TOWN (2 images), calibrated with mode whole, "
            "test-time augmentation flips, float16 weights",
        ),
        (Selection("split", **{**ON_VAL, "images": 1}), "max-F1 on split 'val' of TOWN (1 image)"),
        (
            Selection("split", **ON_VAL, mode="whole"),
            "max-F1 on split 'val' of TOWN (2 images), whole images",
        ),
        (
            Selection("split", **ON_VAL, mode="grid", tile_px=256),
            "max-F1 on split 'val' of TOWN (2 images), 256 x 256 tiles side by side",
        ),
        (Selection("user"), "set by the user"),
        (Selection("conversion"), "set by the user when converted"),
        (Selection("otsu"), "Otsu of each image"),
        (Selection("otsu_scene"), "Otsu's threshold over the scene"),
        (Selection("other", text="somebody"), "somebody"),
    ],
)
def test_a_selection_is_told_in_a_sentence(selection, sentence):
    assert selection.describe() == sentence


def test_only_what_is_known_is_written():
    written = Selection("training", **ON_VAL, epoch=3, batch=40).to_dict()
    assert written == {"kind": "training", **ON_VAL, "epoch": 3, "batch": 40}
    assert Selection("user").to_dict() == {"kind": "user"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "dice"}, "kind must be one of training, .*, got 'dice'"),
        ({"kind": "split", "data": "TOWN"}, "of kind split lacks split, images"),
        ({"kind": "training", **ON_VAL}, "of kind training lacks epoch, batch"),
        ({"kind": "other"}, "of kind other lacks text"),
    ],
)
def test_a_selection_that_says_too_little_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        Selection(**fields)
