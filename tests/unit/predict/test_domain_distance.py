"""What is said of a pair that looks like, or unlike, what a model was made on."""

import pytest

from changedet.data.appearance import DomainDistance
from changedet.predict.domain_distance import distance_of_scene, remarks_on_distance
from changedet.raster.geo_grid import Window


def far_by(ratio: float) -> DomainDistance:
    verdict = "within" if ratio <= 1 else "beyond" if ratio <= 1.5 else "far"
    return DomainDistance("levir", 1.2 * ratio, 1.2, verdict, 16, {"levir": ratio})


@pytest.mark.parametrize(
    ("ratio", "severity", "start"),
    [
        (0.8, "note", "this pair looks like what the model was made on: most like levir"),
        (1.2, "warning", "this pair looks unlike what the model was made on: nearest is levir"),
        (2.0, "warning", "this pair looks very unlike what the model was made on: nearest"),
    ],
)
def test_one_line_says_how_a_pair_looks(ratio, severity, start):
    (remark,) = remarks_on_distance(far_by(ratio))
    assert (remark.severity, remark.topic) == (severity, "model")
    assert remark.text.startswith(start)
    assert f"at a distance of {1.2 * ratio:.2f}, where 95 % of that set's own" in remark.text
    assert "\n" not in remark.text


def test_nothing_is_said_where_nothing_is_known():
    assert list(remarks_on_distance(None)) == []
    assert list(remarks_on_distance(None, pairs=[None, None])) == []


@pytest.mark.parametrize(
    ("together", "unusual", "severity", "expected"),
    [
        (0.8, 1, "note", "these pairs look like what the model was made on: most like levir"),
        (0.8, 6, "warning", "6 of 20 pairs look unlike what the model was made on, the others"),
        (
            1.2,
            15,
            "warning",
            "these pairs look unlike what the model was made on: nearest is levir",
        ),
    ],
)
def test_several_pairs_are_counted(together, unusual, severity, expected):
    pairs = [far_by(1.3)] * unusual + [far_by(0.7)] * (20 - unusual)
    (remark,) = remarks_on_distance(far_by(together), pairs=pairs)
    assert remark.severity == severity
    assert remark.text.startswith(expected)
    assert f"{unusual} of 20 pairs" in remark.text


def test_a_scene_is_not_read_for_a_model_that_knows_no_looks():
    def read(window: Window) -> None:
        raise AssertionError

    assert distance_of_scene(read, Window(0, 0, 100, 100), None) is None
