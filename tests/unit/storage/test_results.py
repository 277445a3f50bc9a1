import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from changedet.errors import ResultsError
from changedet.storage.results import (
    Figure,
    NumberOrNone,
    PlainJson,
    Record,
    Results,
    json_schema,
    to_plain,
)


@dataclass(frozen=True)
class Accuracy:
    """How good.

    Attributes:
        f1: Harmonic mean of precision
            and recall.
        interval: Its ends.
    """

    f1: Figure
    interval: tuple[Figure, Figure]


class Note(Record):
    text: str
    nodata: NumberOrNone = None


class Sample(Results):
    """A sample.

    Attributes:
        accuracy: How good it is.
    """

    kind: Literal["sample"] = "sample"
    schema_version: Literal[2] = 2
    accuracy: Accuracy
    notes: tuple[Note, ...]
    settings: PlainJson

    @classmethod
    def upgrade(cls, content: dict[str, Any]) -> dict[str, Any]:
        content["accuracy"] = content.pop("quality")
        return super().upgrade(content)


def sample(f1: float = 0.5) -> Sample:
    return Sample(
        accuracy=Accuracy(f1, (0.25, 1.0)),
        notes=(Note(text="n", nodata=-1.0),),
        settings={"share": math.nan, "bands": (1, 2)},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sample.json"


def write(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps({**sample().to_dict(), **changes}))
    return path


@pytest.fixture(autouse=True)
def _published_results() -> None:
    """The kinds of this file are not published."""


def test_what_was_written_is_read_back(path: Path):
    sample().write(path)
    assert Sample.read(path) == sample()
    assert list(json.loads(path.read_text())) == [
        *("kind", "schema_version", "accuracy", "notes", "settings")
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_becomes_null_and_nan_again(path: Path, value: float):
    Sample(
        accuracy=Accuracy(value, (value, 1.0)),
        notes=(Note(text="", nodata=value),),
        settings={"deep": [{"value": value}]},
    ).write(path)
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert content["accuracy"] == {"f1": None, "interval": [None, 1.0]}
    assert content["notes"][0]["nodata"] is None
    assert content["settings"] == {"deep": [{"value": None}]}
    found = Sample.read(path)
    assert math.isnan(found.accuracy.f1)
    assert math.isnan(found.accuracy.interval[0])
    assert found.notes[0].nodata is None
    assert found == Sample.read(path)


def test_results_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        sample().settings = {}


def test_keys_of_a_later_version_are_passed_over(path: Path):
    assert Sample.read(write(path, more=1)) == sample()


def test_files_of_an_earlier_layout_are_upgraded(path: Path):
    content = sample().to_dict()
    content["quality"] = content.pop("accuracy")
    del content["kind"], content["schema_version"]
    path.write_text(json.dumps(content))
    assert Sample.read(path) == sample()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON .*damaged"),
        ("[]", "has no results"),
        ('{"kind": "sample", "schema_version": 1}', "does not contain sample results .KeyError"),
        ('{"kind": "sample", "schema_version": 3}', "has schema version 3, .* update changedet"),
        ('{"kind": "sample", "schema_version": "2"}', "has schema version 2"),
        ('{"kind": "other", "schema_version": 2}', "of the kind 'other', not sample"),
        ('{"kind": "sample", "schema_version": 2}', "accuracy: Field required"),
    ],
)
def test_other_files_are_refused_in_one_line(path: Path, content: str, message: str):
    path.write_text(content)
    with pytest.raises(ResultsError, match=message) as error:
        Sample.read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"accuracy": {"f1": "0.5", "interval": [0, 1]}}, "accuracy.f1: "),
        ({"accuracy": {"f1": 0.5, "interval": [0]}}, "accuracy.interval"),
        ({"notes": [{"text": 1}]}, "notes.0.text: "),
        ({"settings": []}, "settings: "),
    ],
)
def test_values_of_the_wrong_type_are_named(path: Path, changes: dict[str, Any], where: str):
    with pytest.raises(ResultsError, match=where):
        Sample.read(write(path, **changes))


def test_a_missing_file_and_one_that_is_a_folder_are_refused(tmp_path: Path):
    with pytest.raises(ResultsError, match="no such file"):
        Sample.read(tmp_path / "no.json")
    with pytest.raises(ResultsError, match="cannot be read"):
        Sample.read(tmp_path)


def test_the_schema_says_what_docstrings_say():
    schema = json_schema(Sample)
    assert schema["description"] == "A sample."
    assert schema["properties"]["accuracy"]["description"] == "How good it is."
    assert schema["properties"]["kind"]["const"] == "sample"
    assert schema["properties"]["schema_version"]["const"] == 2
    assert {"kind", "schema_version", "notes"} <= set(schema["required"])
    accuracy = schema["$defs"]["Accuracy"]
    assert accuracy["description"] == "How good."
    f1 = accuracy["properties"]["f1"]
    assert f1["description"] == "Harmonic mean of precision and recall."
    assert f1["anyOf"] == [{"type": "number"}, {"type": "null"}]


def test_to_plain_gives_what_stands_in_the_file():
    assert to_plain({"a": (1, math.nan), "b": Path("c")}) == {"a": [1, None], "b": "c"}


def test_a_name_that_is_no_utf_8_is_written_out(tmp_path):
    class Named(Results):
        kind: Literal["named"] = "named"
        name: str
        parts: tuple[str, ...]

    Named(name="a\udcff.png", parts=("größe", "\udc80")).write(tmp_path / "named.json")
    again = Named.read(tmp_path / "named.json")
    assert (again.name, again.parts) == ("a\\udcff.png", ("größe", "\\udc80"))
