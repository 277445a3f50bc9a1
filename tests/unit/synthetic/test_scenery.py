import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changedet.synthetic.camera import Exposure, draw_exposure, expose
from changedet.synthetic.canvas import draw_relief
from changedet.synthetic.changes import apply_changes
from changedet.synthetic.drawing import draw_label, draw_scene
from changedet.synthetic.elements import Building, Landscape, Parcel, Patch, Road, Tree, Water
from changedet.synthetic.layout import plan_layout
from changedet.synthetic.seasons import Season, crop
from changedet.synthetic.shapes import (
    area,
    blob,
    contains,
    cut,
    distance_to_outline,
    gap,
    inset,
    rectangle,
    ribbon,
)
from changedet.synthetic.warp import bend_scene

SIDE_PX = 64
SUMMER = Season(time=0.3, shadow=np.array([0.3, -0.6]), rotation=0.0, dryness=0.0)
SQUARE = np.array([[0.0, 0.0], [64.0, 0.0], [64.0, 64.0], [0.0, 64.0]])
MEADOW = Parcel(SQUARE, "meadow", direction=0.0, phase=0.0, tint=np.zeros(3))


def box(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def house(outline, presence="after"):
    return Building(outline, 6.0, "gable", np.array([160.0, 98.0, 76.0]), presence)


def drawn(scene, date, *, season=SUMMER):
    relief = draw_relief(np.random.default_rng(0), SIDE_PX)
    return draw_scene(scene, date, season, relief=relief, rng=np.random.default_rng(1))


def clear_exposure(**changes):
    plain = {
        "gain": np.ones(3),
        "offset": np.zeros(3),
        "gamma": 1.0,
        "slope": np.zeros(2),
        "haze": 0.0,
        "cloud": 0.0,
        "blur": 0.0,
        "noise": 0.0,
        "shift_px": (0.0, 0.0),
    }
    return Exposure(**(plain | changes))


def taken(scene, exposure):
    return expose(scene, exposure, margin_px=4, rng=np.random.default_rng(2))


# shapes

sides = st.floats(2.0, 60.0)
turns = st.floats(0.0, 2 * math.pi)


@given(length=sides, width=sides, angle=turns, direction=turns, offset=st.floats(-0.4, 0.4))
def test_the_two_parts_of_a_cut_make_up_the_whole(length, width, angle, direction, offset):
    whole = rectangle(np.array([30.0, 20.0]), length=length, width=width, angle=angle)
    assert area(whole) == pytest.approx(length * width, rel=1e-9)
    normal = np.array([math.cos(direction), math.sin(direction)])
    point = np.array([30.0, 20.0]) + normal * offset * min(length, width)
    parts = [cut(whole, point=point, normal=sign * normal) for sign in (1, -1)]
    assert sum(area(part) for part in parts) == pytest.approx(length * width, rel=1e-6)


@given(length=sides, width=sides, angle=turns, distance=st.floats(0.1, 40.0))
def test_an_inset_rectangle_loses_the_distance_on_every_side(length, width, angle, distance):
    shrunk = inset(rectangle(np.zeros(2), length=length, width=width, angle=angle), distance)
    left = max(0.0, length - 2 * distance) * max(0.0, width - 2 * distance)
    assert area(shrunk) == pytest.approx(left, abs=1e-6 * (1 + length * width))


def test_points_are_inside_outside_and_so_far_away():
    shape = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [5.0, 4.0], [0.0, 10.0]])
    points = np.array([[5.0, 2.0], [5.0, 9.0], [13.0, 5.0], [5.0, -2.0]])
    assert contains(shape, points).tolist() == [True, False, False, False]
    assert gap(shape, points)[0] == 0.0
    assert gap(shape, points)[2:].tolist() == pytest.approx([3.0, 2.0])
    assert distance_to_outline(shape, points)[0] > 1.0


def test_a_ribbon_covers_its_length_times_its_width():
    line = np.array([[0.0, 0.0], [30.0, 0.0], [60.0, 0.0]])
    assert area(ribbon(line, 7.0)) == pytest.approx(420.0)


def test_a_blob_is_about_as_large_as_asked():
    outline = blob(np.random.default_rng(0), np.zeros(2), radius=20.0)
    assert 0.6 < area(outline) / (math.pi * 400) < 1.6


# label


def test_the_label_covers_exactly_the_pixels_of_an_aligned_building():
    scene = Landscape(SIDE_PX, buildings=(house(box(10, 20, 31, 33)),))
    expected = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    expected[20:33, 10:31] = 1
    np.testing.assert_array_equal(draw_label(scene), expected)


@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_pixel_is_labelled_if_at_least_half_of_it_is_covered(part):
    scene = Landscape(SIDE_PX, buildings=(house(box(10, 20, 30 + part, 33)),))
    assert draw_label(scene)[25, 30] == (part >= 0.5)


@pytest.mark.parametrize("angle", [0.2, 0.6, 1.1])
def test_the_label_of_a_turned_building_has_its_area(angle):
    outline = rectangle(np.array([32.0, 32.0]), length=30, width=20, angle=angle)
    label = draw_label(Landscape(SIDE_PX, buildings=(house(outline),)))
    assert int(label.sum()) == pytest.approx(600, rel=0.04)


def test_only_what_is_there_at_one_date_is_labelled():
    road = Road(np.array([[0.0, 50.0], [64.0, 50.0]]), 8.0, "asphalt")
    scene = Landscape(
        SIDE_PX,
        parcels=(MEADOW,),
        patches=(Patch(box(2, 2, 12, 12), "construction", 0.0, "after"),),
        waters=(Water(box(40, 4, 60, 14), 0.2),),
        roads=(road,),
        buildings=(house(box(20, 20, 30, 30), "before"), house(box(40, 20, 50, 30), "both")),
    )
    label = draw_label(scene)
    assert label.sum() == 200
    assert label[2:12, 2:12].all()
    assert label[20:30, 20:30].all()


def test_a_new_road_is_not_labelled_where_it_joins_an_old_one():
    old = Road(np.array([[0.0, 32.0], [64.0, 32.0]]), 10.0, "asphalt")
    new = Road(np.array([[32.0, 0.0], [32.0, 32.0]]), 8.0, "asphalt", "after")
    label = draw_label(Landscape(SIDE_PX, roads=(new, old)))
    assert label[:27, 28:36].all()
    assert not label[27:].any()


# drawing


def test_without_a_change_both_dates_look_the_same_on_the_same_day():
    scene = Landscape(SIDE_PX, parcels=(MEADOW,), buildings=(house(box(20, 20, 34, 30), "both"),))
    np.testing.assert_array_equal(drawn(scene, "before"), drawn(scene, "after"))


@pytest.mark.parametrize("presence", ["before", "after"])
def test_a_change_shows_in_its_label_and_in_its_shadow_only(presence):
    outline = box(20, 24, 38, 36)
    scene = Landscape(SIDE_PX, parcels=(MEADOW,), buildings=(house(outline, presence),))
    difference = np.abs(drawn(scene, "after") - drawn(scene, "before")).max(axis=2)
    label = draw_label(scene).astype(bool)
    assert difference[label].min() > 8
    reached = label.copy()
    for step in np.linspace(0, 1, 20):
        right, down = np.rint(SUMMER.shadow * 6.0 * step).astype(int)
        reached |= np.roll(label, (down, right), axis=(0, 1))
    grown = sum(np.roll(reached, (y, x), axis=(0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) > 0
    assert difference[~grown].max() == 0


def test_shadows_fall_away_from_the_sun_and_are_as_long_as_the_building_is_high():
    scene = Landscape(SIDE_PX, parcels=(MEADOW,), buildings=(house(box(24, 24, 40, 40), "both"),))
    bare = drawn(Landscape(SIDE_PX, parcels=(MEADOW,)), "before").mean(axis=2)
    north = SUMMER._replace(shadow=np.array([0.0, -1.5]))
    shade = drawn(scene, "before", season=north).mean(axis=2) / bare
    assert shade[16:23, 26:38].max() < 0.8
    assert shade[:14].min() == pytest.approx(1.0)
    assert shade[42:].min() == pytest.approx(1.0)


def test_a_field_goes_through_the_year_without_a_label():
    field = Parcel(SQUARE, "crop", direction=0.4, phase=0.0, tint=np.zeros(3))
    scene = Landscape(SIDE_PX, parcels=(field,))
    looks = [
        drawn(scene, "before", season=SUMMER._replace(time=time)).mean(axis=(0, 1))
        for time in np.arange(0.05, 1.0, 1 / 7)
    ]
    steps = np.abs(np.diff(looks, axis=0)).max(axis=1)
    assert steps.min() > 5
    assert not draw_label(scene).any()
    assert not np.array_equal(crop(SUMMER, 0.0).colour, crop(SUMMER, 0.9).colour)


@pytest.mark.parametrize("seed", range(6))
def test_no_tree_hides_a_change(seed):
    rng = np.random.default_rng(seed)
    scene = apply_changes(rng, plan_layout(rng, 140.0))
    crowns = np.array([(tree.x, tree.y) for tree in scene.trees])
    radius = np.array([tree.radius for tree in scene.trees])
    for outline in scene.changed_outlines():
        assert (gap(outline, crowns) > 0.8 * radius).all()


def test_bending_moves_things_a_little_and_keeps_buildings_as_they_are():
    building = house(box(20, 24, 38, 36))
    scene = Landscape(
        SIDE_PX,
        parcels=(MEADOW,),
        roads=(Road(np.array([[0.0, 5.0], [64.0, 5.0]]), 6.0, "asphalt"),),
        buildings=(building,),
        trees=(Tree(50.0, 50.0, 4.0, is_conifer=False, shade=0.0),),
    )
    bent = bend_scene(scene, np.random.default_rng(3))
    moved = bent.buildings[0].outline - building.outline
    assert np.ptp(moved, axis=0) == pytest.approx([0.0, 0.0], abs=1e-9)
    assert 0 < np.abs(moved).max() < 12
    assert len(bent.roads[0].line) > 5
    assert np.ptp(bent.roads[0].line[:, 1]) > 0.2
    assert (bent.trees[0].x, bent.trees[0].y) != (50.0, 50.0)


# camera


def test_a_clear_camera_shows_the_scene_without_its_margin():
    scene = drawn(Landscape(SIDE_PX, parcels=(MEADOW,)), "before")
    expected = np.clip(np.rint(scene), 0, 255)[4:-4, 4:-4]
    np.testing.assert_allclose(taken(scene, clear_exposure()), expected, atol=1)


def test_the_image_is_shifted_by_part_of_a_pixel():
    ramp = np.tile(np.arange(0, 128, 2, dtype=np.float32), (SIDE_PX, 1))[..., None].repeat(3, 2)
    still = taken(ramp, clear_exposure()).astype(int)
    right = taken(ramp, clear_exposure(shift_px=(0.0, 0.5))).astype(int)
    left = taken(ramp, clear_exposure(shift_px=(0.3, -0.5))).astype(int)
    assert (right - still == -1).all()
    assert (left - still == 1).all()


@pytest.mark.parametrize(
    ("change", "brighter"),
    [
        ({"gain": np.full(3, 0.8)}, False),
        ({"offset": np.full(3, 9.0)}, True),
        ({"haze": 0.3}, True),
        ({"gamma": 1.2}, False),
    ],
)
def test_light_and_air_change_the_brightness(change, brighter):
    scene = drawn(Landscape(SIDE_PX, parcels=(MEADOW,)), "before")
    difference = (
        taken(scene, clear_exposure(**change)).mean() - taken(scene, clear_exposure()).mean()
    )
    assert (difference > 4) if brighter else (difference < -4)


def test_blur_lowers_and_noise_raises_the_detail():
    scene = drawn(Landscape(SIDE_PX, parcels=(MEADOW,)), "before")

    def detail(**changes):
        return np.diff(taken(scene, clear_exposure(**changes)).astype(float), axis=1).std()

    assert detail(blur=0.4) < 0.9 * detail() < detail() < 0.9 * detail(noise=6.0)


def test_clouds_cover_a_part_of_the_image():
    scene = np.full((128, 128, 3), 80, np.float32)
    image = taken(scene, clear_exposure(cloud=0.4)).astype(int)
    covered = (np.abs(image - 80).max(axis=2) > 6).mean()
    assert 0.1 < covered < 0.9


def test_misregistration_stays_within_what_was_asked():
    rng = np.random.default_rng(0)
    shifts = np.array([draw_exposure(rng, largest_shift_px=0.7).shift_px for _ in range(200)])
    assert 0.6 < np.abs(shifts).max() <= 0.7
