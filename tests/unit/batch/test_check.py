"""What is wrong with a catalogue is found before any work, row by row."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from changedet.batch.catalogue import open_catalogue
from changedet.batch.check import CatalogueReport, check_catalogue, require_sound
from changedet.card import ModelCard
from changedet.errors import DataError
from changedet.kinds import KindOfChange
from changedet.predict.request import SceneRequest
from changedet.types import Normalisation
from conftest import write_raster

SIDE = 40


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """Of a model that takes three bands of 8 bit and finds two kinds of change."""
    three = (100.0,) * 3
    made = ModelCard(
        "siamese_pyramid",
        {},
        Normalisation(three, three, three, three),
        threshold=0.5,
        kinds=(KindOfChange("any", 0.5), KindOfChange("building", 0.5)),
    )
    monkeypatch.setattr("changedet.batch.check.read_card", lambda path: made)
    return made


@pytest.fixture
def rasters(tmp_path: Path) -> Path:
    """Rasters of several kinds, by their names."""
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 4), np.uint8)
    far = Affine(0.5, 0.0, 900_000.0, 0.0, -0.5, 5_000_000.0)
    write_raster(tmp_path / "1.tif", pixels[..., :3])
    write_raster(tmp_path / "2.tif", pixels[::-1, :, :3])
    write_raster(tmp_path / "far.tif", pixels[..., :3], transform=far)
    write_raster(tmp_path / "four.tif", pixels)
    write_raster(tmp_path / "deep.tif", pixels[..., :3].astype(np.uint16))
    (tmp_path / "broken.tif").write_bytes(b"II*\0 no more")
    return tmp_path


@pytest.fixture
def check(rasters: Path) -> Callable[..., CatalogueReport]:
    """Make a function that checks a catalogue of these rows."""

    def check_rows(
        *rows: str, header: str = "id,before,after", model: str = "m.safetensors", **options: object
    ) -> CatalogueReport:
        path = rasters / "pairs.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        common = SceneRequest("", "", model, Path("out"))
        return check_catalogue(open_catalogue(path), common, workers=1, **options)

    return check_rows


def told(report: CatalogueReport) -> list[str]:
    return [f"{fault.place} {fault.id}: {fault.text}" for fault in report.faults]


def test_a_sound_catalogue(check, card: ModelCard) -> None:
    seen: list[tuple[int, int]] = []
    report = check("a,1.tif,2.tif", "b,2.tif,1.tif", progress=lambda *done: seen.append(done))
    assert (report.rows, report.opened, report.faults, report.remarks) == (2, 2, [], [])
    assert seen == [(1, 2), (2, 2)]
    require_sound(report)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,gone.tif,2.tif", r"row 2 a: .*gone\.tif: no such file; check the path"),
        ("a,1.tif,broken.tif", r"row 2 a: .*broken\.tif: cannot be opened as a raster"),
        ("a,1.tif,far.tif", "row 2 a: the rasters do not overlap: .*far.tif"),
        ("a,1.tif,four.tif", "row 2 a: .*four.tif: has 4 bands .*the model takes 3; choose them"),
        ("a,1.tif,deep.tif", "row 2 a: .*has uint16 values, but the model was trained on 8 bit"),
    ],
)
def test_rasters_that_cannot_be_compared(check, card, row: str, message: str) -> None:
    report = check(row)
    assert len(report.faults) == 1
    assert re.search(message, told(report)[0]), told(report)
    with pytest.raises(DataError, match=r"pairs\.csv, row 2: "):
        require_sound(report)


def test_settings_of_the_row_count(check, card: ModelCard) -> None:
    header = "id,before,after,bands_after,stretch"
    report = check('a,1.tif,four.tif,"3,2,1",', "b,1.tif,deep.tif,,auto", header=header)
    # Bands of the later date alone are those of a model whose bands are not chosen.
    assert told(report) == []


def test_ids_that_come_twice_also_in_other_cases(check, card: ModelCard) -> None:
    report = check("a,1.tif,2.tif", "b,1.tif,2.tif", "A,1.tif,2.tif", "b,1.tif,2.tif")
    assert [line.partition(";")[0] for line in told(report)] == [
        "row 4 A: the id 'A' stands in row 2 as well",
        "row 5 b: the id 'b' stands in row 3 as well",
    ]


def test_kinds_that_the_model_does_not_know(check, card: ModelCard) -> None:
    rows = ("a,1.tif,2.tif,building", "b,1.tif,2.tif,bulding")
    header = "id,before,after,kind"
    report = check(*rows, header=header)
    assert told(report) == [
        "row 3 b: the model does not know the kind of change 'bulding'; did you mean 'building'?"
    ]
    report = check(*rows, header=header, model="baseline:difference")
    assert [fault.id for fault in report.faults] == ["a", "b"]


def test_a_baseline_takes_all_bands_that_both_have(check) -> None:
    report = check("a,1.tif,2.tif", "b,1.tif,four.tif", model="baseline:difference")
    assert [fault.id for fault in report.faults] == ["b"]
    assert "has 3 bands and" in report.faults[0].text


def test_all_faults_are_listed_with_their_rows(check, card: ModelCard) -> None:
    report = check("a,1.tif,", "gone,gone.tif,2.tif", "x/y,1.tif,2.tif", "a,1.tif,2.tif")
    assert [fault.place for fault in report.faults] == ["row 2", "row 3", "row 4", "row 5"]
    assert [fault.id for fault in report.faults] == ["a", "gone", "x/y", "a"]
    assert (report.rows, report.opened) == (4, 1)
    with pytest.raises(DataError, match=r"row 2: after is empty.* \(and 3 more; `check` lists"):
        require_sound(report)


def test_of_many_pairs_a_sample_is_opened_and_it_is_said(check, card: ModelCard) -> None:
    rows = [f"s{number},1.tif,2.tif" for number in range(30)] + ["bad,gone.tif,2.tif"]
    report = check(*rows, most_opened=5)
    assert report.opened == 5
    assert report.remarks[0].startswith("the rasters of 5 of 31 pairs were opened, chosen by")
    assert check(*rows, most_opened=None).opened == 31
    assert check(*rows, most_opened=0).opened == 0
    # The same sample each time.
    again = check(*rows, most_opened=5)
    assert told(again) == told(report)


def test_an_empty_catalogue(check, card: ModelCard) -> None:
    assert "has no pairs" in told(check())[0]


@pytest.mark.slow
def test_several_processes_find_the_same(rasters: Path) -> None:
    path = rasters / "pairs.csv"
    rows = [f"s{number},1.tif,{'gone' if number == 3 else 2}.tif" for number in range(8)]
    path.write_text("\n".join(["id,before,after", *rows]) + "\n")
    common = SceneRequest("", "", "baseline:difference", Path("out"))
    report = check_catalogue(open_catalogue(path), common, workers=2)
    assert report.opened == 8
    assert [fault.place for fault in report.faults] == ["row 5"]
