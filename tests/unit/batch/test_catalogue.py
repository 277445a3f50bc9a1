"""Catalogues as people and programs write them, read into pairs of scenes."""

import csv
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pystac
import pytest

from changedet.batch.catalogue import PairingRule, open_catalogue
from changedet.errors import ConfigError, DataError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Make a function that writes a file of text."""

    def write_text(text: str, name: str = "pairs.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding=encoding)
        return path

    return write_text


def only_fault(path: Path) -> str:
    faults = [(row.place, fault) for row in open_catalogue(path).rows() for fault in row.faults]
    assert len(faults) == 1, faults
    return f"{faults[0][0]}: {faults[0][1]}"


class TestCsv:
    def test_pairs_dates_and_settings_of_each_row(self, write, tmp_path: Path) -> None:
        path = write(
            "id,before,after,before_date,after_date,threshold,_note\n"
            "a,x/1.tif,/data/2.tif,2019-06-30,2024-07-01T12:00:00+02:00,0.4,ours\n"
            "\n"
            "b,s3://bucket/1.tif,/vsizip/z.zip/2.tif,,,,\n"
        )
        first, second = open_catalogue(path)
        assert first.before == str(tmp_path / "x/1.tif")
        assert first.after == "/data/2.tif"
        assert first.before_date == datetime(2019, 6, 30, tzinfo=UTC)
        assert first.after_date == datetime(2024, 7, 1, 10, tzinfo=UTC)
        assert first.options == {"threshold": "0.4"}
        assert (second.before, second.after) == ("s3://bucket/1.tif", "/vsizip/z.zip/2.tif")
        assert (second.before_date, second.options) == (None, {})

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_what_spreadsheets_write(self, write, separator: str, encoding: str) -> None:
        lines = ["ID,Before,After", "a,1.tif,2.tif"]
        text = "\r\n".join(lines).replace(",", separator)
        (item,) = open_catalogue(write(text, encoding=encoding))
        assert (item.id, Path(item.after).name) == ("a", "2.tif")

    def test_quoted_cells_may_hold_separators_quotes_and_ends_of_lines(self, write) -> None:
        path = write('id,before,after,bands\na,"one, ""two"".tif","3\n4.tif","4,3,2"\n')
        (item,) = open_catalogue(path)
        assert Path(item.before).name == 'one, "two".tif'
        assert Path(item.after).name == "3\n4.tif"
        assert item.options == {"bands": "4,3,2"}

    def test_paths_of_windows(self, write, tmp_path: Path) -> None:
        path = write("id,before,after\na,scenes\\1.tif,C:\\data\\2.tif\n")
        (item,) = open_catalogue(path)
        assert item.before == str(tmp_path / "scenes/1.tif")
        assert item.after == "C:\\data\\2.tif"

    def test_columns_as_the_command_line_writes_options(self, write) -> None:
        (item,) = open_catalogue(write("id,before,after,Min-Area\na,1.tif,2.tif,40\n"))
        assert item.options == {"min_area": "40"}

    def test_an_area_of_interest_lies_beside_the_catalogue(self, write, tmp_path: Path) -> None:
        (tmp_path / "area.geojson").write_text("{}")
        (item,) = open_catalogue(write("id,before,after,aoi\na,1.tif,2.tif,area.geojson\n"))
        assert item.options == {"aoi": str(tmp_path / "area.geojson")}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty; its first row is id,before,after"),
            ("name,before,after\n", "has no column id; .* this one has 'name', 'before', 'after'"),
            ("a.tif,b.tif\n", "has no column id and no column before and no column after"),
            ("id,before,after,id\n", "has the column id twice"),
            ("id,before,after,treshold\n", "'treshold' is no setting.*did you mean 'threshold'"),
        ],
    )
    def test_a_table_without_its_columns_is_refused_when_opened(
        self, write, text: str, message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            open_catalogue(write(text))

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("a,,2.tif", "row 2: before is empty"),
            ("a,1.tif", "row 2: after is empty"),
            ("a,1.tif,1.tif", "row 2: before and after are the same file"),
            ("a/b,1.tif,2.tif", r"row 2: the id 'a/b' cannot name a folder.*'a_b'"),
            ("..,1.tif,2.tif", "row 2: the id '..' cannot name"),
            ("con,1.tif,2.tif", "row 2: the id 'con' cannot name"),
            ("a,1.tif,2.tif,soon", "row 2: before_date must be a date such as 2024-06-30"),
            ("a,1.tif,2.tif,2024-01-01,2020-01-01", "row 2: before_date 2024-01-01 is later"),
            ("a,1.tif,2.tif,,,40", "row 2: .*threshold.*40"),
            ("a,1.tif,2.tif,,,,9", "row 2: has 7 cells and the table 6 columns"),
        ],
    )
    def test_a_faulty_row_is_named(self, write, row: str, message: str) -> None:
        path = write(f"id,before,after,before_date,after_date,threshold\n{row}\n")
        assert re.search(message, only_fault(path))
        with pytest.raises(DataError, match=r"pairs\.csv, row 2: "):
            list(open_catalogue(path))

    def test_other_rows_are_read_in_spite_of_a_faulty_one(self, write) -> None:
        path = write("id,before,after\na,1.tif,2.tif\n,1.tif,2.tif\nc,1.tif,2.tif\n")
        rows = list(open_catalogue(path).rows())
        assert [row.item.id if row.item else row.place for row in rows] == ["a", "row 3", "c"]

    def test_a_file_that_is_no_text(self, write, tmp_path: Path) -> None:
        (tmp_path / "pairs.csv").write_bytes(b"id,before,after\na,\xff.tif,2.tif\n")
        with pytest.raises(DataError, match="UTF-8"):
            list(open_catalogue(tmp_path / "pairs.csv"))

    def test_a_file_that_is_not_there_or_of_another_kind(self, write, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            open_catalogue(tmp_path / "none.csv")
        with pytest.raises(ConfigError, match="a catalogue is a table"):
            open_catalogue(write("", "pairs.xlsx"))


class TestParquet:
    def table(self, path: Path, **columns: object) -> Path:
        pq.write_table(pa.table(columns), path, row_group_size=2)
        return path

    def test_rows_in_their_order_with_typed_values(self, tmp_path: Path) -> None:
        path = self.table(
            tmp_path / "pairs.parquet",
            after=["2.tif", "4.tif", "6.tif"],
            before=["1.tif", "3.tif", "5.tif"],
            id=pa.array([10, 11, 12]),
            before_date=pa.array([datetime(2020, 1, 2, tzinfo=UTC), None, None]),
            gsd_m=pa.array([0.5, None, float("nan")]),
            geometry=pa.array([b"\x01", b"\x01", b"\x01"]),
            bbox=pa.array([{"xmin": 0.0}] * 3),
        )
        catalogue = open_catalogue(path)
        assert catalogue.count() == 3
        first, second, third = catalogue
        assert (first.id, first.before, first.options) == (
            "10",
            str(tmp_path / "1.tif"),
            {"gsd_m": 0.5},
        )
        assert first.before_date == datetime(2020, 1, 2, tzinfo=UTC)
        assert (second.id, second.options, third.options) == ("11", {}, {})

    def test_missing_columns_and_damaged_files(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="has no column id"):
            open_catalogue(self.table(tmp_path / "a.parquet", before=["1.tif"], after=["2.tif"]))
        (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
        with pytest.raises(DataError, match="cannot be read as Parquet"):
            open_catalogue(tmp_path / "b.parquet")


def stac_item(
    name: str,
    date: str | None,
    assets: dict[str, str],
    **properties: object,
) -> pystac.Item:
    moment = None if date is None else datetime.fromisoformat(date).replace(tzinfo=UTC)
    item = pystac.Item(
        id=name,
        geometry={"type": "Point", "coordinates": [5.0, 52.0]},
        bbox=[5.0, 52.0, 5.0, 52.0],
        datetime=moment,
        properties=dict(properties),
        start_datetime=datetime(2019, 1, 1, tzinfo=UTC) if moment is None else None,
        end_datetime=datetime(2024, 1, 1, tzinfo=UTC) if moment is None else None,
    )
    for key, href in assets.items():
        item.add_asset(key, pystac.Asset(href, roles=["data"]))
    return item


def save_items(path: Path, items: list[pystac.Item]) -> Path:
    pystac.ItemCollection(items).save_object(str(path))
    return path


class TestPairItems:
    def test_an_item_collection_of_pairs(self, tmp_path: Path) -> None:
        item = stac_item("a/b", None, {"before": "./1.tif", "after": "https://x.org/2.tif"})
        item.properties["changedet:options"] = {"threshold": 0.25}
        (pair,) = open_catalogue(save_items(tmp_path / "pairs.json", [item]))
        assert pair.id == "a_b"
        assert pair.before == str(tmp_path / "1.tif")
        assert pair.after == "https://x.org/2.tif"
        assert pair.before_date == datetime(2019, 1, 1, tzinfo=UTC)
        assert pair.after_date == datetime(2024, 1, 1, tzinfo=UTC)
        assert pair.options == {"threshold": 0.25}

    def test_items_on_lines_and_a_single_item(self, tmp_path: Path) -> None:
        items = [stac_item(name, None, {"before": "1", "after": "2"}) for name in "abc"]
        texts = [json.dumps(item.to_dict(include_self_link=False)) for item in items]
        (tmp_path / "pairs.ndjson").write_text("\n".join(texts) + "\n")
        (tmp_path / "one.json").write_text(texts[1])
        assert [item.id for item in open_catalogue(tmp_path / "pairs.ndjson")] == ["a", "b", "c"]
        assert [item.id for item in open_catalogue(tmp_path / "one.json")] == ["b"]

    def test_a_collection_on_disk_with_items_of_their_own(self, tmp_path: Path) -> None:
        extent = pystac.Extent(
            pystac.SpatialExtent([[5.0, 52.0, 5.0, 52.0]]),
            pystac.TemporalExtent([[datetime(2019, 1, 1, tzinfo=UTC), None]]),
        )
        collection = pystac.Collection("all", "Pairs", extent)
        for name in "ab":
            collection.add_item(stac_item(name, None, {"before": "./1.tif", "after": "./2.tif"}))
        collection.normalize_and_save(str(tmp_path), pystac.CatalogType.SELF_CONTAINED)
        pairs = list(open_catalogue(tmp_path / "collection.json"))
        assert [Path(pair.before).resolve() for pair in pairs] == [
            (tmp_path / name / "1.tif").resolve() for name in "ab"
        ]
        with pytest.raises(DataError, match=r"is a folder; give .*collection\.json"):
            open_catalogue(tmp_path)

    def test_paths_start_from_where_the_catalogue_lies(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        item = stac_item("p", None, {"before": "./1.tif", "after": "deeper/2.tif"})
        (tmp_path / "pairs").mkdir()
        save_items(tmp_path / "pairs" / "pairs.json", [item])
        monkeypatch.chdir(tmp_path)
        (pair,) = open_catalogue("pairs/pairs.json")
        assert (pair.before, pair.after) == ("pairs/1.tif", "pairs/deeper/2.tif")

    def test_pages_of_a_server_are_followed(self, tmp_path: Path) -> None:
        for number in (1, 2, 3):
            item = stac_item(f"p{number}", None, {"before": "1", "after": "2"}).to_dict(
                include_self_link=False
            )
            links = [{"rel": "next", "href": f"./page{number + 1}.json"}] if number < 3 else []
            page = {"links": links, "features": [item], "type": "FeatureCollection"}
            (tmp_path / f"page{number}.json").write_text(json.dumps(page))
        ids = [item.id for item in open_catalogue(tmp_path / "page1.json")]
        assert ids == ["p1", "p2", "p3"]

    def test_scenes_without_a_rule_say_how_they_are_paired(self, tmp_path: Path) -> None:
        path = save_items(tmp_path / "a.json", [stac_item("s", "2020-01-01", {"visual": "1.tif"})])
        assert re.search("assets visual, .*before and after.*`before_date`", only_fault(path))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"type": "FeatureCollection", "features": [{"type": "Fea', "cannot be read as JSON"),
            ('{"type": "FeatureCollection", "features": [3]}', "no STAC item: '3'"),
            ('{"type": "Topology"}', "is no STAC item collection"),
            ("[]", "cannot be read as JSON"),
            ("", "cannot be read as JSON"),
        ],
    )
    def test_what_is_no_stac(self, write, text: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            list(open_catalogue(write(text, "a.json")))

    def test_items_larger_than_what_is_read_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("changedet.batch.stac_items._CHUNK", 7)
        items = [stac_item(name, None, {"before": "1", "after": "2é"}) for name in "abc"]
        path = save_items(tmp_path / "pairs.json", items)
        assert [item.id for item in open_catalogue(path)] == ["a", "b", "c"]


def pairs_of(catalogue) -> dict[str, tuple[str, str]]:
    return {
        item.id.partition("_")[0]: (Path(item.before).name, Path(item.after).name)
        for item in catalogue
    }


class TestPairing:
    @pytest.fixture
    def scenes(self, tmp_path: Path) -> Path:
        rows = [
            ("A", "2019-05-01", 5.0),
            ("A", "2019-06-10", 60.0),
            ("A", "2019-06-20", 1.0),
            ("A", "2024-06-25", 2.0),
            ("A", "2024-07-30", 0.0),
            ("B", "2019-06-01", 3.0),
            ("C", "2019-06-01", 3.0),
            ("C", "2020-06-01", 3.0),
        ]
        items = [
            stac_item(
                f"{tile}{date}",
                date,
                {"visual": f"./{tile}{date}.tif", "thumbnail": "./t.png"},
                **{"grid:code": tile, "eo:cloud_cover": cloud},
            )
            for tile, date, cloud in rows
        ]
        return save_items(tmp_path / "scenes.json", items)

    def test_nearest_to_the_dates_with_few_clouds(self, scenes: Path) -> None:
        rule = PairingRule(
            before_date=datetime(2019, 6, 12), after_date=datetime(2024, 6, 20), max_cloud=20.0
        )
        catalogue = open_catalogue(scenes, pairing=rule)
        assert pairs_of(catalogue) == {
            "A": ("A2019-06-20.tif", "A2024-06-25.tif"),
            "C": ("C2019-06-01.tif", "C2020-06-01.tif"),
        }
        # The same each time.
        assert [item.id for item in catalogue] == ["A_20190620_20240625", "C_20190601_20200601"]
        assert catalogue.remarks == [
            "1 tile has no two scenes that the rule takes",
            "1 scenes are cloudier than `max_cloud` allows",
        ]

    def test_within_days_and_gap(self, scenes: Path) -> None:
        rule = PairingRule(
            before_date=datetime(2019, 6, 12), after_date=datetime(2024, 6, 20), within_days=30
        )
        assert pairs_of(open_catalogue(scenes, pairing=rule)) == {
            "A": ("A2019-06-10.tif", "A2024-06-25.tif")
        }
        rule = PairingRule(min_gap_days=400)
        assert pairs_of(open_catalogue(scenes, pairing=rule)) == {
            "A": ("A2019-06-20.tif", "A2024-06-25.tif")
        }

    def test_without_dates_the_nearest_to_each_other(self, scenes: Path) -> None:
        assert pairs_of(open_catalogue(scenes, pairing=PairingRule())) == {
            "A": ("A2019-06-10.tif", "A2019-06-20.tif"),
            "C": ("C2019-06-01.tif", "C2020-06-01.tif"),
        }

    def test_two_collections(self, scenes: Path, tmp_path: Path) -> None:
        later = [
            stac_item(f"l{tile}", date, {"image": f"./{tile}.tif"}, **{"tile": tile})
            for tile, date in (("A", "2024-06-01"), ("B", "2024-06-01"), ("C", "2018-01-01"))
        ]
        other = save_items(tmp_path / "later.json", later)
        rule = PairingRule(after_catalogue=str(other))
        catalogue = open_catalogue(scenes, pairing=rule, asset="visual", asset_after="image")
        assert pairs_of(catalogue) == {
            "A": ("A2019-06-20.tif", "A.tif"),
            "B": ("B2019-06-01.tif", "B.tif"),
        }

    def test_every_choice_is_the_best_of_all_pairs(self, tmp_path: Path) -> None:
        days = [*range(1, 28, 3), 14, 14]
        items = [
            stac_item(
                f"s{number}",
                f"20{20 + number % 3}-03-{day:02}",
                {"visual": f"{number}.tif"},
                **{"tile": "T", "eo:cloud_cover": float(number % 4)},
            )
            for number, day in enumerate(days)
        ]
        path = save_items(tmp_path / "scenes.json", items)
        first, last = datetime(2020, 3, 13, tzinfo=UTC), datetime(2021, 3, 20, tzinfo=UTC)
        rule = PairingRule(before_date=first, after_date=last, min_gap_days=200)
        (pair,) = open_catalogue(path, pairing=rule)
        cost, cloud = min(
            (
                abs(b.datetime - first) + abs(a.datetime - last),
                b.properties["eo:cloud_cover"] + a.properties["eo:cloud_cover"],
            )
            for b in items
            for a in items
            if (a.datetime - b.datetime).days >= 200
        )
        chosen = [items[int(Path(href).stem)] for href in (pair.before, pair.after)]
        assert abs(pair.before_date - first) + abs(pair.after_date - last) == cost
        assert sum(item.properties["eo:cloud_cover"] for item in chosen) == cloud

    def test_items_that_cannot_be_paired_are_faults(self, tmp_path: Path) -> None:
        items = [
            stac_item("a", "2020-01-01", {"visual": "1.tif"}),
            stac_item("b", "2020-01-01", {"red": "1.tif", "blue": "2.tif"}, tile="T"),
        ]
        path = save_items(tmp_path / "scenes.json", items)
        rows = list(open_catalogue(path, pairing=PairingRule()).rows())
        assert "names its tile" in rows[0].faults[0]
        assert "name one of red, blue in `asset`" in rows[1].faults[0]

    def test_rules_that_make_no_sense(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="max_cloud"):
            PairingRule(max_cloud=120)
        with pytest.raises(ConfigError, match="swap them"):
            PairingRule(before_date=datetime(2024, 1, 1), after_date=datetime(2020, 1, 1))
        with pytest.raises(ConfigError, match="within_days"):
            PairingRule(within_days=4)
        path = tmp_path / "a.csv"
        path.write_text("id,before,after\n")
        with pytest.raises(ConfigError, match="is a table"):
            open_catalogue(path, pairing=PairingRule())


def test_a_large_table_is_read_in_constant_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "pairs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "before", "after"])
        writer.writerows([f"s{n}", f"{n}_1.tif", f"{n}_2.tif"] for n in range(10_000))
    # What is loaded on the first use is no memory of the rows.
    next(iter(open_catalogue(path)))
    tracemalloc.start()
    assert sum(1 for _ in open_catalogue(path)) == 10_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300_000


def test_the_examples_name_rasters_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    pairs = list(open_catalogue("examples/data/pairs.csv"))
    assert [pair.id for pair in pairs] == ["north", "south"]
    rule = PairingRule(before_date=datetime(2000, 6, 1), after_date=datetime(2020, 6, 1))
    scenes = list(open_catalogue("examples/data/scenes.json", pairing=rule))
    assert [pair.id for pair in scenes] == ["006066_20000701_20200701"]
    for pair in (*pairs, *scenes):
        assert Path(pair.before).name == "landsat_2000.tif"
        assert Path(pair.after).name == "landsat_2020.tif"
        assert Path(pair.before).is_file()
        assert Path(pair.after).is_file()
