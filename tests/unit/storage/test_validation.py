from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from changedet.storage.validation import Section, describe, must


class Circle(Section):
    kind: Literal["circle"]
    radius: float


class Square(Section):
    kind: Literal["square"]
    side: float = Field(alias="length")


class Drawing(Section):
    title: Annotated[str, must("be text", remedy="put it in quotes")] = ""
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="kind")], ...] = ()
    frame: Square | None = None
    weights: dict[Literal["line", "fill"], float] = Field(default_factory=dict)
    grids: dict[str, list[Square]] = Field(default_factory=dict)
    layers: dict[Annotated[str, Field(max_length=3)], int] = Field(default_factory=dict)


def faults(tree):
    with pytest.raises(ValidationError) as error:
        Drawing.model_validate(tree)
    return describe(error.value, Drawing)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"titel": "x"}, "unknown key 'titel'; did you mean 'title'?"),
        (
            {"zzzz": 1},
            "unknown key 'zzzz'; there are: title, shapes, frame, weights, grids, layers",
        ),
        ({"title": 7}, "title must be text, got 7; put it in quotes"),
        ({"frame": 7}, "frame: must contain keys (kind, length), got 7"),
        (7, "must contain keys (title, shapes, frame, weights, grids, layers), got 7"),
        # The tag that chooses the class of a shape is no part of the place.
        (
            {"shapes": [{"kind": "circle", "radius": 1, "raduis": 2}]},
            "shapes[0]: unknown key 'raduis'; did you mean 'radius'?",
        ),
        ({"shapes": [{"kind": "circle"}]}, "shapes[0].radius: is missing; add it"),
        (
            {"frame": {"kind": "square", "length": 1, "lenght": 2}},
            "frame: unknown key 'lenght'; did you mean 'length'?",
        ),
        ({"weights": {"lien": 1}}, "weights: unknown key 'lien'; did you mean 'line'?"),
        (
            {"layers": {"roof": 1}},
            "layers.roof: String should have at most 3 characters",
        ),
        (
            {"grids": {"a": [{"kind": "square", "length": 1, "zzz": 2}]}},
            "grids.a[0]: unknown key 'zzz'; there are: kind, length",
        ),
    ],
)
def test_a_fault_is_named_by_its_place_in_the_file(tree, said):
    assert faults(tree) == said


def test_all_faults_stand_in_one_line():
    said = faults({"title": "a\nb", "frame": {"kind": "square", "length": "1\n2"}, "x\ny": 1})
    assert said.count("; ") >= 2
    assert "\n" not in said


def test_a_large_value_is_cut():
    said = faults({"title": list(range(10_000))})
    assert said.startswith("title must be text, got [0, 1, 2")
    assert len(said) < 250
