import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changedet.raster.geo_grid import Window
from changedet.raster.tile_plan import OpenRows, RowBlender, TilePlan


@st.composite
def plans(draw: st.DrawFn) -> TilePlan:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    tile_shape = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    target = Window(
        top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    )
    overlap = draw(st.integers(0, min(tile_shape) - 1))
    return TilePlan((height, width), tile_shape, overlap, target)


def blended(plan: TilePlan, truth: np.ndarray, wanted: np.ndarray, *, run: int, seed: int = 0):
    """Run a plan on tiles that are cut out of a known map; tiles of a row come in any order."""
    generator = np.random.default_rng(seed)
    blender = RowBlender(plan)
    result = np.full(plan.target.shape, -1.0, np.float32)
    padded = np.pad(truth, [(0, size) for size in plan.tile_shape])
    for row in plan.rows:
        for piece in plan.runs(row, run):
            window = piece.window
            part = np.s_[window.top : window.bottom, window.left : window.right]
            blender.leave_out(window, ~wanted[part])
        for column in generator.permutation(list(plan.columns)):
            tile = plan.tile(row, int(column))
            part = np.s_[tile.top : tile.bottom, tile.left : tile.right]
            blender.add_scores(row, int(column), padded[part])
        top, rows = blender.finish_row(row)
        place = np.s_[top : top + rows.shape[1]]
        assert (result[place] == -1.0).all(), "rows are handed out once"
        (result[place],) = rows
        blender.go_on(row)
    return result


@given(plans(), st.integers(1, 5))
@settings(deadline=None)
def test_the_target_comes_out_whole_and_once_whatever_the_tiles(plan: TilePlan, run: int):
    truth = np.random.default_rng(1).random(plan.shape, dtype=np.float32)
    result = blended(plan, truth, np.ones(plan.shape, bool), run=run)
    expected = truth[plan.target.top : plan.target.bottom, plan.target.left : plan.target.right]
    np.testing.assert_allclose(result, expected, atol=1e-5)


@given(plans(), st.integers(0, 3), st.integers(0, 3))
@settings(deadline=None)
def test_the_order_of_tiles_changes_nothing_but_rounding(plan: TilePlan, one: int, other: int):
    truth = np.random.default_rng(1).random(plan.shape, dtype=np.float32)
    wanted = np.ones(plan.shape, bool)
    first = blended(plan, truth, wanted, run=2, seed=one)
    np.testing.assert_allclose(first, blended(plan, truth, wanted, run=3, seed=other), atol=1e-6)


@given(plans())
@settings(deadline=None)
def test_exactly_the_unwanted_pixels_have_no_score(plan: TilePlan):
    generator = np.random.default_rng(2)
    wanted = generator.random(plan.shape) < 0.7
    result = blended(plan, np.ones(plan.shape, np.float32), wanted, run=3)
    target = wanted[plan.target.top : plan.target.bottom, plan.target.left : plan.target.right]
    np.testing.assert_array_equal(~np.isnan(result), target)


@given(plans())
def test_runs_cover_the_tiles_of_a_row_and_stay_inside_the_scene(plan: TilePlan):
    scene = Window(0, 0, *plan.shape)
    for row in plan.rows:
        runs = list(plan.runs(row, 3))
        assert [column for run in runs for column in run.columns] == list(plan.columns)
        for run in runs:
            assert run.window.intersect(scene) == run.window
            for column in run.columns:
                tile = plan.tile(row, column).intersect(scene)
                assert tile is not None
                assert tile.intersect(run.window) == tile


@given(plans())
def test_every_tile_is_full_sized_and_inside_unless_the_scene_is_smaller(plan: TilePlan):
    for row in plan.rows:
        for column in plan.columns:
            tile = plan.tile(row, column)
            assert tile.shape == plan.tile_shape
            assert tile.bottom <= max(plan.shape[0], plan.tile_shape[0])
            assert tile.right <= max(plan.shape[1], plan.tile_shape[1])
            assert tile.intersect(plan.target) is not None


def test_a_target_gets_the_scores_of_the_whole_scene():
    shape = (50, 70)
    rng = np.random.default_rng(3)
    tiles: dict[tuple[int, int], np.ndarray] = {}

    def run(target: Window) -> np.ndarray:
        plan = TilePlan(shape, (16, 16), 5, target)
        blender = RowBlender(plan)
        result = np.zeros(target.shape, np.float32)
        for row in plan.rows:
            for column in plan.columns:
                # Neighbours disagree here, so it matters which tiles take part.
                key = row, column
                tiles.setdefault(key, rng.random((16, 16), dtype=np.float32))
                blender.add_scores(row, column, tiles[key])
            top, rows = blender.finish_row(row)
            (result[top : top + rows.shape[1]],) = rows
            blender.go_on(row)
        return result

    whole = run(Window(0, 0, *shape))
    np.testing.assert_array_equal(run(Window(13, 21, 30, 17)), whole[13:43, 21:38])


def test_a_resumed_blender_goes_on_with_the_same_bits():
    plan = TilePlan((60, 40), (16, 16), 6, Window(0, 0, 60, 40))
    rng = np.random.default_rng(4)
    scores = rng.random((len(plan.rows), len(plan.columns), 16, 16), dtype=np.float32)

    def one_row(blender: RowBlender, row: int) -> np.ndarray:
        for column in plan.columns:
            blender.add_scores(row, column, scores[row, column])
        finished = blender.finish_row(row)[1].copy()
        blender.go_on(row)
        return finished

    whole = RowBlender(plan)
    expected = [one_row(whole, row) for row in plan.rows]
    begun = RowBlender(plan)
    for row in plan.rows[:2]:
        one_row(begun, row)
    state = OpenRows(begun.open_rows.top, begun.open_rows.scores.copy())
    assert state.scores.shape[1] < 16
    resumed = RowBlender(plan, resumed=state)
    for row in plan.rows[2:]:
        np.testing.assert_array_equal(one_row(resumed, row), expected[row])


@given(plans())
@settings(deadline=None)
def test_every_class_is_blended_as_if_it_were_alone(plan: TilePlan):
    rng = np.random.default_rng(5)
    together, alone = RowBlender(plan, classes=3), [RowBlender(plan) for _ in range(3)]
    unwanted = rng.random(plan.target.shape) < 0.3
    for row in plan.rows:
        for blender in (together, *alone):
            blender.leave_out(plan.target, unwanted)
        for column in plan.columns:
            scores = rng.random((3, *plan.tile_shape), dtype=np.float32)
            together.add_scores(row, column, scores)
            for blender, one in zip(alone, scores, strict=True):
                blender.add_scores(row, column, one)
        top, rows = together.finish_row(row)
        for blender, one in zip(alone, rows, strict=True):
            expected_top, (expected,) = blender.finish_row(row)
            assert top == expected_top
            np.testing.assert_array_equal(one, expected)
        for blender in (together, *alone):
            blender.go_on(row)


def test_a_blender_of_several_classes_resumes_with_the_same_bits():
    plan = TilePlan((60, 40), (16, 12), 6, Window(0, 0, 60, 40))
    rng = np.random.default_rng(6)
    scores = rng.random((len(plan.rows), len(plan.columns), 3, 16, 12), dtype=np.float32)
    whole, resumed = RowBlender(plan, classes=3), RowBlender(plan, classes=3)
    for row in plan.rows:
        state = OpenRows(resumed.open_rows.top, resumed.open_rows.scores.copy())
        resumed = RowBlender(plan, classes=3, resumed=state)
        for blender in (whole, resumed):
            for column in plan.columns:
                blender.add_scores(row, column, scores[row, column])
        np.testing.assert_array_equal(resumed.finish_row(row)[1], whole.finish_row(row)[1])
        whole.go_on(row)
        resumed.go_on(row)


def test_scores_of_another_number_of_classes_are_refused():
    plan = TilePlan((30, 30), (16, 16), 4, Window(0, 0, 30, 30))
    with pytest.raises(ValueError, match="reshape"):
        RowBlender(plan, classes=3).add_scores(0, 0, np.zeros((16, 16), np.float32))


def test_an_axis_with_a_single_tile_ignores_the_overlap():
    plan = TilePlan((30, 10), (16, 12), 14, Window(0, 0, 30, 10))
    assert plan.lefts == [0]
    truth = np.random.default_rng(7).random(plan.shape, dtype=np.float32)
    result = blended(plan, truth, np.ones(plan.shape, bool), run=1)
    np.testing.assert_allclose(result, truth, atol=1e-6)


@pytest.mark.parametrize(
    ("overlap", "target", "message"),
    [
        (16, Window(0, 0, 10, 10), "overlap must be in"),
        (-1, Window(0, 0, 10, 10), "overlap must be in"),
        (4, Window(0, 0, 31, 10), "not inside a scene"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(overlap: int, target: Window, message: str):
    with pytest.raises(ValueError, match=message):
        TilePlan((30, 30), (16, 16), overlap, target)
