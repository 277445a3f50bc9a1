"""Labels of scenes that cannot be meant: elsewhere, of several layers, with a class lost."""

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine

from changedet.data.index import index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.tools.check import check_pairs
from changedet.errors import ConfigError, DataError

UTM = "EPSG:32631"
LEFT, TOP, PIXEL = 5e5, 5e6, 0.5


def write_manifest(scene, *entries, split="{block_px: 64, gap_px: 4}"):
    """Name scenes of the same rasters, with other fields each."""
    usual = {"before": "before.tif", "after": "after.tif", "labels": "labels.gpkg"}
    lines = []
    for number, entry in enumerate(entries):
        fields = {"name": f"s{number}", **usual, **entry}
        lines.append(f"  - {{{', '.join(f'{key}: {value}' for key, value in fields.items())}}}\n")
    scene.manifest.write_text(f"scenes:\n{''.join(lines)}split: {split}\n")
    return scene.manifest


def write_polygons(path, boxes, *, crs=UTM, layer="labels", append=False):
    pyogrio.raw.write(
        path,
        np.array([shapely.to_wkb(shapely.box(*box)) for box in boxes], dtype=object),
        [np.arange(len(boxes))],
        ["number"],
        crs=crs,
        layer=layer,
        geometry_type="Polygon",
        append=append,
    )


def write_copy(scene, source, target, *, values=None, **changes):
    """Copy a raster of the scene, with another profile."""
    with rasterio.open(scene.folder / source) as file:
        profile, pixels = {**file.profile, **changes}, file.read()
    if values is not None:
        pixels = values[None]
    profile |= {"count": len(pixels), "dtype": pixels.dtype}
    with rasterio.open(scene.folder / target, "w", **profile) as file:
        file.write(pixels)


HERE = (LEFT + 10, TOP - 30, LEFT + 20, TOP - 20)
ELSEWHERE = (LEFT + 50e3, TOP - 30, LEFT + 50e3 + 10, TOP - 20)


def test_polygons_that_lie_elsewhere_are_a_fault_with_both_places(write_scene):
    scene = write_scene()
    write_polygons(scene.folder / "labels.gpkg", [ELSEWHERE])
    with pytest.raises(DataError, match="none of its polygons overlaps the scene") as caught:
        index_pairs(scene.folder)
    text = str(caught.value)
    assert "they cover x 550000..550010, y 4999970..4999980 (WGS 84 / UTM zone 31N)" in text
    assert "the scene covers x 500000..500160, y 4999872..5000000 (WGS 84 / UTM zone 31N)" in text
    assert "unchanged: true" in text
    assert "\n" not in text


def test_polygons_of_the_wrong_zone_are_told_where_they_are_in_the_scenes(write_scene):
    scene = write_scene()
    write_polygons(scene.folder / "labels.gpkg", [HERE], crs="EPSG:32632")
    # Six degrees of longitude apart.
    with pytest.raises(
        DataError, match=r"they cover x 97163\d.*zone 31N.*the scene covers x 500000"
    ):
        index_pairs(scene.folder)


def test_a_scene_that_is_known_to_be_unchanged_needs_no_polygon_of_its_own(write_scene):
    scene = write_scene()
    write_polygons(scene.folder / "far.gpkg", [ELSEWHERE])
    write_manifest(scene, {"labels": "far.gpkg", "unchanged": "true"})
    index = index_pairs(scene.folder)
    assert "s0: all of it counts as unchanged, according to its entry" in index.notes
    scan = scan_labels(index.pairs)
    assert sum(count.changed for count in scan.counts.values()) == 0
    assert sum(count.unchanged for count in scan.counts.values()) > 0

    write_manifest(scene, {"unchanged": "true"})
    with pytest.raises(DataError, match=r"unchanged: true, but 20 polygons of .*labels\.gpkg"):
        index_pairs(scene.folder)


@pytest.mark.parametrize("name", ["empty.gpkg", "empty.geojson"])
def test_an_empty_file_of_labels_means_unchanged_and_it_is_said(write_scene, name):
    scene = write_scene()
    path = scene.folder / name
    if name.endswith("gpkg"):
        write_polygons(path, [])
    else:
        path.write_text('{"type": "FeatureCollection", "features": []}')
    write_manifest(scene, {"labels": name})
    index = index_pairs(scene.folder)
    assert any(f"{name} is empty, so the whole scene counts" in note for note in index.notes)


def test_a_label_raster_that_lies_elsewhere_is_a_fault_with_both_places(write_scene):
    scene = write_scene(labels="label.tif")
    far = Affine(PIXEL, 0, LEFT + 50e3, 0, -PIXEL, TOP)
    write_copy(scene, "label.tif", "far.tif", transform=far)
    write_copy(scene, "label.tif", "zone.tif", crs=rasterio.crs.CRS.from_epsg(32632))
    for name, place in (("far.tif", "x 550000..550160"), ("zone.tif", "zone 32N")):
        write_manifest(scene, {"labels": name})
        with pytest.raises(
            DataError, match=rf"{name}: the labels do not overlap the scene"
        ) as caught:
            index_pairs(scene.folder)
        assert place in str(caught.value)
        assert "the scene covers x 500000..500160" in str(caught.value)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [([ELSEWHERE], "it covers x 550000..550010, .* the scene covers x 5"), ([], "it is empty")],
)
def test_an_area_that_lies_elsewhere_is_a_fault(write_scene, boxes, message):
    scene = write_scene()
    write_polygons(scene.folder / "area.gpkg", boxes)
    write_manifest(scene, {"area": "area.gpkg"})
    with pytest.raises(DataError, match=rf"area\.gpkg: the area does not overlap.*{message}"):
        index_pairs(scene.folder)


def test_a_layer_of_labels_is_chosen_in_the_manifest(write_scene):
    scene = write_scene()
    path = scene.folder / "all.gpkg"
    write_polygons(path, [HERE], layer="new houses")
    write_polygons(path, [(LEFT, TOP - 128, LEFT + 160, TOP)], layer="parcels", append=True)
    write_manifest(scene, {"labels": "all.gpkg"})
    with pytest.raises(DataError, match=r"\('new houses', 'parcels'\); .* in labels_layer"):
        index_pairs(scene.folder)

    write_manifest(scene, {"labels": "all.gpkg", "labels_layer": "new houses", "split": "train"})
    scan = scan_labels(index_pairs(scene.folder).pairs)
    assert sum(count.changed for count in scan.counts.values()) == 20 * 20

    write_manifest(scene, {"area": "all.gpkg"})
    with pytest.raises(DataError, match=r"'parcels'\); export the one that is meant: ogr2ogr"):
        index_pairs(scene.folder)
    write_manifest(scene, {"labels": "before.tif", "labels_layer": "parcels"})
    with pytest.raises(DataError, match="labels_layer is the name of a polygon layer, but"):
        index_pairs(scene.folder)


@pytest.mark.parametrize(
    ("nodata", "other", "lost"), [(0, 1, "unchanged"), (255, 0, "changed"), (1, 0, "changed")]
)
def test_a_nodata_value_that_takes_a_class_away_is_a_fault(write_scene, nodata, other, lost):
    scene = write_scene(labels="label.tif")
    values = np.where(scene.truth == 1, 1, 0) if nodata < 2 else scene.truth * 255
    write_copy(scene, "label.tif", "lost.tif", values=values.astype(np.uint8), nodata=nodata)
    write_manifest(scene, {"labels": "lost.tif"})
    with pytest.raises(
        DataError,
        match=rf"lost\.tif: its nodata value is {nodata} and all other values are {other}, so "
        rf"nothing in it is known to be {lost}; if {nodata} means {lost}: "
        r"gdal_edit.py -unsetnodata .*lost\.tif",
    ):
        index_pairs(scene.folder)
    if other == 0:
        write_manifest(scene, {"labels": "lost.tif", "unchanged": "true"})
        assert index_pairs(scene.folder).pairs


def test_a_nodata_value_that_leaves_both_classes_or_is_not_used_is_fine(write_scene):
    scene = write_scene(labels="label.tif")
    three = (scene.truth * np.uint8(2)) + np.uint8(1)
    three[:50] = 0
    write_copy(scene, "label.tif", "three.tif", values=three, nodata=0)
    write_copy(scene, "label.tif", "still.tif", values=scene.truth * np.uint8(0), nodata=255)
    for name in ("three.tif", "still.tif"):
        write_manifest(scene, {"labels": name})
        assert index_pairs(scene.folder).pairs


def test_polygons_on_a_server_are_to_be_downloaded(write_scene):
    scene = write_scene()
    for address in ("http://host/labels.gpkg", "https://u:p@host/labels.gpkg?sig=secret"):
        write_manifest(scene, {"labels": f'"{address}"'})
        with pytest.raises(DataError, match=r"host/labels\.gpkg: polygons .* local files; downl"):
            index_pairs(scene.folder)
        write_manifest(scene, {"area": f'"{address}"'})
        with pytest.raises(DataError, match="are read from local files; download it") as caught:
            index_pairs(scene.folder)
        assert "secret" not in str(caught.value)


def neighbour(scene, *, right_px, crs=UTM):
    """Write a second scene whose left edge lies so many pixels right of the first one's."""
    to_crs = pyproj.Transformer.from_crs(UTM, crs, always_xy=True)
    x, y = to_crs.transform(LEFT + right_px * PIXEL, TOP)
    placed = {
        "transform": Affine(PIXEL, 0, x, 0, -PIXEL, y),
        "crs": rasterio.crs.CRS.from_user_input(crs),
    }
    for name in ("before", "after"):
        write_copy(scene, f"{name}.tif", f"{name}2.tif", **placed)
    write_polygons(scene.folder / "labels2.gpkg", [(x + 10, y - 30, x + 20, y - 20)], crs=crs)
    return {"before": "before2.tif", "after": "after2.tif", "labels": "labels2.gpkg"}


@pytest.mark.parametrize(
    ("right_px", "crs", "expected"),
    [
        (300, UTM, "overlap on the ground"),
        (320, UTM, "touch or lie closer than 4 px"),
        (323, UTM, "touch or lie closer than 4 px"),
        (325, UTM, None),
        (160, "EPSG:32632", "overlap on the ground"),
        (600, "EPSG:32632", None),
    ],
)
def test_scenes_that_overlap_or_touch_are_warned_of_by_the_check(
    write_scene, right_px, crs, expected
):
    scene = write_scene()
    second = neighbour(scene, right_px=right_px, crs=crs)
    write_manifest(scene, {}, {**second, "split": "test"})
    report = check_pairs(scene.folder)
    found = [text for text in report.warnings if "on the ground" in text]

    assert report.passed
    assert len(found) == (expected is not None)
    if expected:
        assert found[0].startswith("s0 and s1")
        assert expected in found[0]
        assert found[0] in index_pairs(scene.folder).notes
    write_manifest(scene, {"split": "test"}, {**second, "split": "test"})
    assert not any("on the ground" in text for text in check_pairs(scene.folder).warnings)


def test_blocks_without_change_are_a_note_and_no_warning(write_scene):
    scene = write_scene()
    write_polygons(scene.folder / "one.gpkg", [HERE])
    write_manifest(scene, {"labels": "one.gpkg", "split": "train"})
    report = check_pairs(scene.folder)

    assert any("19 of 20 labels are empty" in note for note in report.notes)
    assert not any("are empty" in text for text in report.warnings)


def test_the_check_names_its_own_option_for_the_number_of_bands(write_scene):
    scene = write_scene(bands=4, dtype="uint16")
    report = check_pairs(scene.folder)
    assert "`channels=N` to check" in report.errors[0]
    with pytest.raises((ConfigError, DataError), match=r"`model\.in_channels=N` to train"):
        index_pairs(scene.folder)
    assert check_pairs(scene.folder, channels=4).passed
