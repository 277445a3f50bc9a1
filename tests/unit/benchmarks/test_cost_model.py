"""The cost model against sums that anybody can do."""

from dataclasses import replace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import cost_model

    return cost_model


@pytest.fixture
def parts(model):
    worker = model.Worker(mpx_per_s=0.5, scene_s=20.0, start_s=10.0, cpus=2.0)
    # 100 scenes of 100 Mpx: 2,500 km2 at half a metre.
    archive = model.Archive(2_500.0, 0.5, 10_000, overlap=0.0, read_bytes_per_px=2.0)
    return worker, archive, model.Cluster(10, cpu_hour=0.1)


def test_a_run_that_scoring_limits(model, parts) -> None:
    worker, archive, cluster = parts
    assert (archive.scenes, archive.scene_mpx) == (100, 100.0)
    found = model.estimate(worker, archive, cluster)
    # Ten scenes for each worker: 200 s of scoring and 20 s besides.
    assert found.hours == pytest.approx((10 + 10 * 220) / 3600)
    assert found.worker_hours == pytest.approx(10 * found.hours)
    assert found.read_tb == pytest.approx(100 * 100e6 * 2 / 1e12)
    assert found.money == pytest.approx(found.worker_hours * 2 * 0.1)
    assert found.per_1000_km2 == pytest.approx(found.money / 2.5)
    assert found.bottleneck == "scoring"


@pytest.mark.parametrize(
    ("changes", "bottleneck"),
    [
        ({"worker_mb_per_s": 0.5}, "reading, at a worker"),
        ({"store_mb_per_s": 5.0}, "reading, at the store"),
        ({"driver_scenes_per_s": 0.01}, "the driver"),
    ],
)
def test_what_is_in_the_way_first(model, parts, changes: dict, bottleneck: str) -> None:
    worker, archive, cluster = parts
    found = model.estimate(worker, archive, replace(cluster, **changes))
    assert found.bottleneck == bottleneck
    assert found.hours > model.estimate(worker, archive, cluster).hours


def test_small_scenes_cost_what_every_scene_costs(model, parts) -> None:
    worker, archive, cluster = parts
    found = model.estimate(worker, replace(archive, side_px=1_000), cluster)
    assert found.bottleneck == "what every scene costs"


def test_more_workers_than_scenes_do_not_help(model, parts) -> None:
    worker, archive, cluster = parts
    first, second = (
        model.estimate(worker, archive, replace(cluster, workers=count)) for count in (100, 200)
    )
    assert second.hours == first.hours
    assert second.money == 2 * first.money


def test_the_fit_finds_what_made_the_times(model) -> None:
    def run(side: int, scenes: int) -> float:
        return 7.0 + scenes * (3.0 + side**2 / 1e6 / 0.25)

    found = model.fit((1_000, 2_000), (run(1_000, 1), run(1_000, 5), run(2_000, 5)), scenes=5)
    assert (found.mpx_per_s, found.scene_s, found.start_s) == pytest.approx((0.25, 3.0, 7.0))


def test_what_is_scored_are_tiles(model) -> None:
    # 1, 3 x 3 and 4 x 4 tiles of 512 px.
    assert [model.tiles_mpx(side, 512, 128) * 1e6 / 512**2 for side in (512, 1024, 1536)] == [
        1,
        9,
        16,
    ]

    def run(tiles: int, scenes: int) -> float:
        return 7.0 + scenes * (3.0 + tiles * 2.0)

    seconds = (run(1, 1), run(1, 5), run(9, 5))
    found = model.fit((512, 1024), seconds, scenes=5, tile_px=512, overlap_px=128)
    assert (found.scene_s, found.start_s) == pytest.approx((3.0, 7.0))
    assert model.seconds_of(found, [1536], workers=1) == pytest.approx(run(16, 1))


def test_scenes_go_to_the_worker_that_is_free(model) -> None:
    worker = model.Worker(mpx_per_s=1.0, scene_s=1.0, start_s=5.0)
    # 2, 5 and 2 s: the third goes to the worker that had the first.
    assert model.seconds_of(worker, [1_000, 2_000, 1_000], workers=2) == pytest.approx(10.0)


def test_the_table_has_a_line_for_each_cluster(model, parts) -> None:
    worker, archive, cluster = parts
    lines = model.table(worker, archive, [cluster, replace(cluster, workers=20)]).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {10}
    assert lines[2].startswith("| 10 | 0.6 | 6 |")
