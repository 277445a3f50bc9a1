import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from changedet.card import ModelCard
from changedet.errors import StorageError
from changedet.inference.torch_scorer import TorchScorer
from changedet.predict.flow import TilesDone, score_scene
from changedet.predict.journal import Journal
from changedet.raster.geo_grid import Window
from changedet.raster.pair import PairPixels
from changedet.raster.tile_plan import TilePlan
from changedet.types import ChangeOutput, Normalisation
from stand_ins import BlurredDifference

STATS = Normalisation((10.0, 20.0, 30.0), (40.0, 50.0, 60.0), (255.0,) * 3, (255.0,) * 3)
TILE, OVERLAP = 32, 8
REACH_PX = 3


class Sink:
    """Keeps the rows that it is given."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.rows = np.full(shape, -1.0, np.float32)
        self.synced = 0

    def write_rows(self, top: int, rows: np.ndarray) -> None:
        (self.rows[top : top + rows.shape[1]],) = rows

    def sync(self) -> None:
        self.synced += 1


class Scene:
    """Two dates in memory, with a hole in the data where asked."""

    def __init__(self, height: int, width: int, *, hole: Window | None = None, fill: int = 0):
        rng = np.random.default_rng(5)
        self.before, self.after = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        self.valid = np.ones((height, width), bool)
        if hole is not None:
            part = np.s_[hole.top : hole.bottom, hole.left : hole.right]
            self.valid[part] = False
            self.before[part] = fill
            self.after[part] = 255 - fill
        self.reads: list[Window] = []
        self.threads: set[str] = set()

    def read(self, window: Window) -> PairPixels:
        self.reads.append(window)
        self.threads.add(threading.current_thread().name)
        part = np.s_[window.top : window.bottom, window.left : window.right]
        return PairPixels(self.before[part].copy(), self.after[part].copy(), self.valid[part])


def everywhere(window: Window) -> np.ndarray:
    return np.ones(window.shape, bool)


def run(
    scene: Scene,
    folder: Path,
    *,
    target: Window | None = None,
    inside: Callable[[Window], np.ndarray] = everywhere,
    model: nn.Module | None = None,
    batch_size: int = 3,
    resume: str = "no",
    progress: Callable[[TilesDone], None] | None = None,
    sink: Sink | None = None,
    read: Callable[[Window], PairPixels] | None = None,
) -> np.ndarray:
    plan = TilePlan(
        scene.valid.shape, (TILE, TILE), OVERLAP, target or Window(0, 0, *scene.valid.shape)
    )
    sink = sink or Sink(plan.target.shape)
    journal = Journal(folder, {"a": 1}, first_row=plan.rows.start)
    if resume == "yes":
        assert journal.resume() == ()
    score_scene(
        read or scene.read,
        inside,
        plan=plan,
        scorer=scorer_of(model or BlurredDifference()),
        batch_size=batch_size,
        sink=sink,
        journal=journal,
        progress=progress,
    )
    return sink.rows


def scorer_of(model: nn.Module) -> TorchScorer:
    return TorchScorer(model, ModelCard("stand-in", {}, STATS), device="cpu")  # type: ignore[arg-type]


def direct(scene: Scene) -> np.ndarray:
    scorer = scorer_of(BlurredDifference(stride=1))
    return scorer.score([scene.before], [scene.after])[0]


def test_the_scores_are_those_of_the_whole_scene_at_once(tmp_path: Path):
    scene = Scene(90, 130)
    inner = np.s_[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    # At a tile's edge the network sees padding, which halves the score of 0.33 there; the blend
    # weighs that down to a tenth, not away.
    difference = np.abs(run(scene, tmp_path) - direct(scene))[inner]
    assert difference.max() < 0.035
    assert np.median(difference) < 1e-4


@pytest.mark.parametrize("batch_size", [1, 2, 50])
def test_the_batch_size_changes_nothing(tmp_path: Path, batch_size: int):
    scene = Scene(70, 100)
    np.testing.assert_allclose(
        run(scene, tmp_path / "a", batch_size=batch_size), run(scene, tmp_path / "b"), atol=2e-4
    )


def test_every_tile_is_full_sized_also_in_a_small_scene(tmp_path: Path):
    model = BlurredDifference()
    rows = run(Scene(17, 45), tmp_path, model=model)
    assert {shape[2:] for shape in model.shapes} == {(TILE, TILE)}
    assert rows.shape == (17, 45)
    assert not np.isnan(rows).any()


def test_a_part_of_the_scene_gets_the_scores_of_the_whole(tmp_path: Path):
    scene = Scene(90, 130)
    whole = run(scene, tmp_path / "a")
    part = run(scene, tmp_path / "b", target=Window(33, 41, 30, 52))
    np.testing.assert_array_equal(part, whole[33:63, 41:93])


def test_pixels_without_data_or_not_asked_for_get_no_score(tmp_path: Path):
    hole = Window(10, 20, 30, 25)
    scene = Scene(70, 100, hole=hole)

    def left_half(window: Window) -> np.ndarray:
        columns = np.arange(window.left, window.right) < 50
        return np.broadcast_to(columns, window.shape).copy()

    rows = run(scene, tmp_path, inside=left_half)
    expected = scene.valid.copy()
    expected[:, 50:] = False
    np.testing.assert_array_equal(~np.isnan(rows), expected)


def test_what_is_stored_where_there_is_no_data_does_not_leak(tmp_path: Path):
    hole = Window(10, 20, 30, 25)
    dark = run(Scene(70, 100, hole=hole, fill=0), tmp_path / "a")
    bright = run(Scene(70, 100, hole=hole, fill=255), tmp_path / "b")
    np.testing.assert_array_equal(dark, bright)
    # Only pixels that the network sees together with the hole can differ from those without it.
    whole = run(Scene(70, 100), tmp_path / "c")
    far = np.ones((70, 100), bool)
    far[10 - REACH_PX : 40 + REACH_PX, 20 - REACH_PX : 45 + REACH_PX] = False
    np.testing.assert_array_equal(dark[far], whole[far])


def test_a_hole_looks_unchanged_to_the_network(tmp_path: Path):
    scene = Scene(40, 40, hole=Window(0, 0, 40, 20))
    scene.before[:, 20:] = STATS.mean_before
    scene.after[:, 20:] = STATS.mean_after
    assert run(scene, tmp_path)[:, 20:].max() == 0.0


def test_tiles_without_a_wanted_pixel_are_not_scored(tmp_path: Path):
    model = BlurredDifference()
    run(Scene(32, 200, hole=Window(0, 0, 32, 120)), tmp_path, model=model)
    plan = TilePlan((32, 200), (TILE, TILE), OVERLAP, Window(0, 0, 32, 200))
    needed = sum(plan.tile(0, column).right > 120 for column in plan.columns)
    assert model.tiles == needed < plan.count


def test_means_of_a_bgr_model_fill_the_right_bands(tmp_path: Path):
    seen: list[np.ndarray] = []

    class Spy(TorchScorer):
        def score(self, before, after):  # type: ignore[no-untyped-def]
            seen.append(before[0])
            return super().score(before, after)

    scene = Scene(32, 32, hole=Window(0, 0, 5, 5))
    plan = TilePlan((32, 32), (TILE, TILE), OVERLAP, Window(0, 0, 32, 32))
    stats = Normalisation(
        STATS.mean_before, STATS.mean_after, STATS.std_before, STATS.std_after, "bgr"
    )
    score_scene(
        scene.read,
        everywhere,
        plan=plan,
        scorer=Spy(BlurredDifference(), ModelCard("stand-in", {}, stats), device="cpu"),
        batch_size=1,
        sink=Sink((32, 32)),
        journal=Journal(tmp_path, {}, first_row=0),
    )
    assert seen[0][0, 0].tolist() == [30, 20, 10]


class KilledError(Exception):
    """Stands in for a kill."""


def test_a_killed_run_goes_on_from_its_finished_rows_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)
    scene = Scene(150, 90)
    expected = run(scene, tmp_path / "whole")

    def stop_late(tiles: TilesDone) -> None:
        if tiles.done > 0.6 * tiles.total:
            raise KilledError

    sink = Sink((150, 90))
    with pytest.raises(KilledError):
        run(scene, tmp_path / "killed", sink=sink, progress=stop_late)
    model = BlurredDifference()
    told: list[TilesDone] = []
    rows = run(
        scene, tmp_path / "killed", sink=sink, model=model, resume="yes", progress=told.append
    )
    np.testing.assert_array_equal(rows, expected)
    assert model.tiles == told[0].total - told[0].done < 0.8 * told[0].total
    assert told[-1].done == told[-1].total


def test_scores_are_on_the_disk_before_a_row_counts_as_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)
    events: list[str] = []
    save = Journal.save
    monkeypatch.setattr(
        Journal, "save", lambda self, *args: (events.append("save"), save(self, *args))
    )
    sink = Sink((80, 40))
    monkeypatch.setattr(sink, "sync", lambda: events.append("sync"))
    run(Scene(80, 40), tmp_path, sink=sink)
    assert events == ["sync", "save"] * 3


@pytest.mark.parametrize("where", ["read", "write"])
def test_an_error_in_another_thread_ends_the_run(tmp_path: Path, where: str):
    scene = Scene(200, 90)
    sink = Sink((200, 90))

    def fail(*_: object) -> PairPixels:
        raise StorageError("broken")

    if where == "write":
        sink.write_rows = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageError, match="broken"):
        run(scene, tmp_path, sink=sink, read=fail if where == "read" else None)
    assert not (tmp_path / "journal.json").exists()


def test_reading_is_ahead_of_scoring_but_not_without_bound(tmp_path: Path):
    scene = Scene(32, 1000)
    ahead: list[int] = []

    class Slow(BlurredDifference):
        def forward(self, before: Tensor, after: Tensor, *, branches: str) -> ChangeOutput:
            time.sleep(0.02)
            ahead.append(len(scene.reads) - len(self.shapes))
            return super().forward(before, after, branches=branches)

    run(scene, tmp_path, model=Slow(), batch_size=1)
    assert threading.current_thread().name not in scene.threads
    assert 1 < max(ahead) <= 4


def test_after_a_failed_write_no_row_counts_as_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)
    scene = Scene(200, 60)
    sink = Sink((200, 60))
    stored: list[int] = []

    def fail_once(top: int, rows: np.ndarray) -> None:
        stored.append(top)
        if len(stored) == 3:
            raise StorageError("broken")

    monkeypatch.setattr(sink, "write_rows", fail_once)
    with pytest.raises(StorageError, match="broken"):
        run(scene, tmp_path, sink=sink, batch_size=9)
    journal = Journal(tmp_path, {"a": 1}, first_row=0)
    assert journal.resume() == ()
    assert journal.next_row == 2
    assert len(stored) == 3
