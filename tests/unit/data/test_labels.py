import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from changedet.data.index import PairPaths
from changedet.data.labels.masks import inspect_mask, read_mask
from changedet.data.labels.scan import LabelEncoding, read_label, scan_labels
from changedet.errors import CheckpointError, DataError, ImageError

CHANGED = np.zeros((16, 16), dtype=bool)
CHANGED[4:10, 3:12] = True


class Masks:
    """Writes masks and hands out pairs for them."""

    def __init__(self, folder):
        self.folder = folder
        self.pairs = []

    def add(self, name, image, **options):
        path = self.folder / name
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        image.save(path, **options)
        self.pairs.append(PairPaths(path.stem, path, path, path))
        return path


@pytest.fixture
def masks(tmp_path):
    return Masks(tmp_path)


def grey(changed=CHANGED, *, high=255, low=0):
    return np.where(changed, high, low).astype(np.uint8)


def palette(changed, colours):
    image = Image.fromarray(changed.astype(np.uint8), mode=None)
    image = image.convert("P")
    image.putdata([int(value) for value in changed.ravel()])
    image.putpalette([part for colour in colours for part in colour])
    return image


def rgb(changed, colour, background=(0, 0, 0)):
    return np.where(changed[:, :, np.newaxis], colour, background).astype(np.uint8)


STORED = {
    "0/1 png": ("m.png", grey(high=1), {}),
    "0/255 png": ("m.png", grey(), {}),
    "0/255 tif": ("m.tif", grey(), {}),
    "0/7 png": ("m.png", grey(high=7), {}),
    "1 bit": ("m.png", CHANGED, {}),
    "jpeg grey": ("m.jpg", np.kron(grey(), np.ones((8, 8), np.uint8)), {"quality": 85}),
    "jpeg named png": ("m.png", np.kron(grey(), np.ones((8, 8), np.uint8)), {"format": "JPEG"}),
    "jpeg rgb": ("m.jpg", np.kron(rgb(CHANGED, 255), np.ones((8, 8, 1), np.uint8)), {}),
    "black and white palette": ("m.png", palette(CHANGED, [(0, 0, 0), (255, 255, 255)]), {}),
    "palette with white first": ("m.png", palette(~CHANGED, [(255, 255, 255), (0, 0, 0)]), {}),
    "palette of black and red": ("m.png", palette(CHANGED, [(0, 0, 0), (200, 0, 0)]), {}),
    "grey as rgb": ("m.png", rgb(CHANGED, 255), {}),
    "black and blue rgb": ("m.png", rgb(CHANGED, (0, 0, 255)), {}),
    "opaque rgba": ("m.png", np.dstack([rgb(CHANGED, 255), np.full((16, 16), 255, "u1")]), {}),
    "16 bit 0/1": ("m.png", CHANGED.astype(np.uint16), {}),
    "16 bit 0/65535": ("m.png", CHANGED.astype(np.uint16) * 65535, {}),
    "32 bit 0/1": ("m.tif", CHANGED.astype(np.int32), {}),
}


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_every_way_to_store_a_mask_means_the_same(masks, stored):
    name, image, options = stored
    path = masks.add(name, image, **options)

    scan = scan_labels(masks.pairs)
    label = read_label(path, scan.encoding)

    factor = label.shape[0] // 16
    assert label.dtype == np.uint8
    assert np.array_equal(label[factor // 2 :: factor, factor // 2 :: factor], CHANGED)
    assert set(np.unique(label)) == {0, 1}
    assert scan.changed_share == pytest.approx(CHANGED.mean(), abs=0.01)


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_counts_of_the_scan_are_those_of_the_decoded_masks(masks, stored):
    name, image, options = stored
    path = masks.add(name, image, **options)

    scan = scan_labels(masks.pairs)
    label = read_label(path, scan.encoding)

    assert scan.counts[masks.pairs[0]].changed == int((label == 1).sum())
    assert scan.counts[masks.pairs[0]].unchanged == int((label == 0).sum())


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED)
def test_an_encoding_survives_json(masks, stored):
    name, image, options = stored
    masks.add(name, image, **options)
    encoding = scan_labels(masks.pairs).encoding

    assert LabelEncoding.from_dict(json.loads(json.dumps(encoding.to_dict()))) == encoding


def test_a_damaged_stored_encoding_is_an_error():
    with pytest.raises(CheckpointError, match="damaged"):
        LabelEncoding.from_dict({"kind": "binary"})
    with pytest.raises(CheckpointError, match="damaged"):
        LabelEncoding.from_dict({"kind": "binary", "changed": [1], "unchanged": [0], "odd": 1})


@pytest.mark.parametrize("high", [1, 255])
def test_the_encoding_is_decided_from_all_masks_and_holds_for_the_empty_ones(masks, high):
    empty = masks.add("a.png", grey(high=0))
    masks.add("b.png", grey(high=high))
    full = masks.add("c.png", grey(high=high, low=high))

    scan = scan_labels(masks.pairs)

    assert scan.encoding.changed == (high,)
    assert scan.empty == ("a",)
    assert scan.full == ("c",)
    assert scan.images == 3
    assert not read_label(empty, scan.encoding).any()
    assert read_label(full, scan.encoding).all()
    assert scan.changed_share == pytest.approx((CHANGED.mean() + 1) / 3)


def test_the_share_of_one_split_is_taken_from_its_masks_alone(masks):
    masks.add("a.png", grey())
    masks.add("b.png", grey(high=0))

    scan = scan_labels(masks.pairs)

    assert scan.share_of(masks.pairs[:1]) == pytest.approx(CHANGED.mean())
    assert scan.share_of(masks.pairs[1:]) == 0.0
    stranger = PairPaths("x", masks.folder, masks.folder, masks.folder / "x.png")
    with pytest.raises(DataError, match=r"x\.png is not one of the scanned"):
        scan.share_of([stranger])


def test_the_seeds_nearly_black_jpeg_is_an_empty_mask_and_that_is_said(masks):
    dark = np.random.default_rng(0).integers(0, 3, (64, 64), dtype=np.uint8)
    path = masks.add("00000.jpg", dark, quality=100)

    scan = scan_labels(masks.pairs)

    assert not read_label(path, scan.encoding).any()
    assert scan.changed_share == 0.0
    assert scan.empty == ("00000",)
    assert "no pixel counts as changed" in scan.notes[0]


def test_a_photograph_among_jpeg_masks_is_refused(masks):
    photo = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    masks.add("mask.jpg", np.kron(grey(), np.ones((8, 8), np.uint8)))
    path = masks.add("photo.jpg", photo)

    with pytest.raises(DataError, match="neither black nor white") as error:
        scan_labels(masks.pairs)
    assert str(path) in str(error.value)


def test_a_coloured_jpeg_is_refused_as_a_mask(masks):
    path = masks.add("m.jpg", np.kron(rgb(CHANGED, (255, 0, 0)), np.ones((8, 8, 1), np.uint8)))

    with pytest.raises(ImageError, match="coloured JPEG"):
        inspect_mask(path)


def test_png_masks_of_0_and_255_agree_with_jpeg_masks(masks):
    masks.add("a.jpg", np.kron(grey(), np.ones((8, 8), np.uint8)))
    path = masks.add("b.png", grey())

    scan = scan_labels(masks.pairs)

    assert np.array_equal(read_label(path, scan.encoding), CHANGED)


def test_png_masks_of_0_and_1_contradict_jpeg_masks(masks):
    masks.add("a.jpg", np.kron(grey(), np.ones((8, 8), np.uint8)))
    path = masks.add("b.png", grey(high=1))

    with pytest.raises(DataError, match="contradict") as error:
        scan_labels(masks.pairs)
    assert str(path) in str(error.value)


def test_masks_of_0_1_beside_masks_of_0_255_contradict_each_other(masks):
    first, second = masks.add("a.png", grey(high=1)), masks.add("b.png", grey())

    with pytest.raises(DataError, match="contradict") as error:
        scan_labels(masks.pairs)
    assert str(first) in str(error.value)
    assert str(second) in str(error.value)


def test_one_bit_masks_agree_with_either(masks):
    bits = masks.add("a.png", CHANGED)
    masks.add("b.png", grey())

    scan = scan_labels(masks.pairs)

    assert scan.encoding.changed == (255,)
    assert np.array_equal(read_label(bits, scan.encoding), CHANGED)


def test_three_undeclared_values_are_refused_with_values_file_and_settings(masks):
    three = grey(high=1)
    three[0, 0] = 2
    path = masks.add("odd.png", three)

    with pytest.raises(
        DataError, match=r"0, 1, 2.*data\.changed_values or data\.ignore_value"
    ) as e:
        scan_labels(masks.pairs)
    assert str(path) in str(e.value)


def test_values_that_only_together_are_three_are_refused_too(masks):
    masks.add("a.png", grey(high=1))
    masks.add("b.png", grey(high=2))

    with pytest.raises(DataError, match=r"a\.png, .*b\.png: values 0, 1, 2"):
        scan_labels(masks.pairs)


def test_three_colours_are_refused(masks):
    three = rgb(CHANGED, (255, 0, 0))
    three[0, 0] = (0, 255, 0)
    masks.add("odd.png", three)

    with pytest.raises(DataError, match=r"#000000, #00ff00, #ff0000"):
        scan_labels(masks.pairs)


def test_black_masks_beside_coloured_ones_are_empty(masks):
    coloured = masks.add("a.png", rgb(CHANGED, (255, 0, 0)))
    black = masks.add("b.png", grey(high=0))

    scan = scan_labels(masks.pairs)

    assert scan.empty == ("b",)
    assert np.array_equal(read_label(coloured, scan.encoding), CHANGED)
    assert not read_label(black, scan.encoding).any()


def test_declared_changed_values_leave_everything_else_unchanged(masks):
    classes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = masks.add("classes.png", classes)

    scan = scan_labels(masks.pairs, changed_values=(3, 7), ignore_value=0)
    label = read_label(path, scan.encoding)

    assert np.array_equal(label == 1, np.isin(classes, (3, 7)))
    assert np.array_equal(label == 255, classes == 0)
    assert scan.changed_share == pytest.approx(2 / 255)
    assert "declared" in scan.encoding.describe()


def test_declared_values_that_never_occur_are_reported(masks):
    masks.add("a.png", grey(high=1))

    scan = scan_labels(masks.pairs, changed_values=(1, 9), ignore_value=8)

    assert scan.notes == (
        "the changed value 9 does not occur in any label",
        "the ignore value 8 does not occur in any label",
    )


def test_a_declared_ignore_value_resolves_three_values(masks):
    three = grey(high=1)
    three[0, :4] = 255
    path = masks.add("a.png", three)

    scan = scan_labels(masks.pairs, ignore_value=255)

    assert (read_label(path, scan.encoding) == 255).sum() == 4
    assert scan.changed_share == pytest.approx(CHANGED.sum() / (256 - 4))
    assert scan.encoding.describe() == "0 = unchanged, 1 = changed, 255 = ignored"


def test_255_means_changed_in_a_mask_of_0_and_255(masks):
    path = masks.add("a.png", grey())

    scan = scan_labels(masks.pairs)

    assert set(np.unique(read_label(path, scan.encoding))) == {0, 1}


def test_a_value_cannot_be_changed_and_ignored(masks):
    masks.add("a.png", grey())

    with pytest.raises(DataError, match="one thing only"):
        scan_labels(masks.pairs, ignore_value=255, changed_values=(255,))


@pytest.mark.parametrize("dark", ["png", "jpg", "1 bit"])
def test_inverted_masks_can_be_declared(masks, dark):
    big = np.kron(CHANGED, np.ones((8, 8), dtype=bool))
    name, image = ("a.png", ~big) if dark == "1 bit" else (f"a.{dark}", grey(~big))
    path = masks.add(name, image)

    scan = scan_labels(masks.pairs, changed_values=(0,))

    assert (read_label(path, scan.encoding) == big).mean() > 0.99
    assert scan.changed_share == pytest.approx(CHANGED.mean(), abs=0.01)


@pytest.mark.parametrize("settings", [{"ignore_value": 9}, {"changed_values": (1,)}])
def test_exact_values_cannot_be_declared_for_jpeg(masks, settings):
    masks.add("a.jpg", np.kron(grey(), np.ones((8, 8), np.uint8)))

    with pytest.raises(DataError, match="JPEG, which alters values"):
        scan_labels(masks.pairs, **settings)


@pytest.mark.parametrize("settings", [{"ignore_value": 9}, {"changed_values": (1,)}])
def test_greys_cannot_be_declared_for_coloured_masks(masks, settings):
    masks.add("a.png", rgb(CHANGED, (255, 0, 0)))

    with pytest.raises(DataError, match="coloured"):
        scan_labels(masks.pairs, **settings)


def test_a_single_unusual_value_is_ambiguous(masks):
    masks.add("a.png", grey(high=7, low=7))

    with pytest.raises(DataError, match="7 is the only value"):
        scan_labels(masks.pairs)


def test_all_blank_masks_leave_the_encoding_open(masks):
    path = masks.add("a.png", grey(high=0))

    scan = scan_labels(masks.pairs)

    assert scan.encoding.kind == "empty"
    assert "so the value for changed is unknown" in scan.encoding.describe()
    assert not read_label(path, scan.encoding).any()


def test_ignored_everywhere_gives_no_share_instead_of_a_crash(masks):
    masks.add("a.png", grey(high=9, low=9))

    assert scan_labels(masks.pairs, ignore_value=9).changed_share == 0.0


@pytest.mark.parametrize(
    ("scanned", "later"),
    [
        (("a.png", grey(high=1), {}), ("b.png", grey(), {})),
        (("a.png", grey(), {}), ("b.jpg", np.kron(grey(), np.ones((8, 8), np.uint8)), {})),
        (("a.jpg", np.kron(grey(), np.ones((8, 8), np.uint8)), {}), ("b.png", grey(high=1), {})),
        (
            ("a.jpg", np.kron(grey(), np.ones((8, 8), "u1")), {}),
            ("b.png", CHANGED * np.uint16(1), {}),
        ),
        (("a.png", rgb(CHANGED, (255, 0, 0)), {}), ("b.png", grey(), {})),
        (("a.png", grey(high=0), {}), ("b.png", grey(), {})),
    ],
    ids=["255 in 0/1", "JPEG in PNG", "0/1 in JPEG", "wide in JPEG", "grey in colour", "open"],
)
def test_a_mask_that_does_not_follow_the_encoding_is_refused_not_misread(masks, scanned, later):
    masks.add(scanned[0], scanned[1], **scanned[2])
    encoding = scan_labels(masks.pairs).encoding
    path = masks.add(later[0], later[1], **later[2])

    with pytest.raises(DataError, match="check") as error:
        read_label(path, encoding)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (np.dstack([rgb(CHANGED, 255), grey()]), "transparent"),
        (CHANGED.astype(np.float32) * 0.5, r"float32.* not whole numbers \(such as 0\.5\)"),
    ],
)
def test_a_mask_of_another_kind_is_refused(masks, image, word):
    path = masks.add("a.tif", image)

    with pytest.raises(ImageError, match=word):
        read_mask(path)


def test_an_image_in_place_of_a_mask_is_refused(masks):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = masks.add("a.png", picture)

    with pytest.raises(ImageError, match="too many for a mask"):
        inspect_mask(path)


def test_values_outside_16_bits_are_refused(masks):
    path = masks.add("a.tif", CHANGED.astype(np.int32) * 100_000)

    with pytest.raises(ImageError, match=r"outside 0\.\.65535"):
        inspect_mask(path)


def test_a_set_without_masks_is_an_error():
    with pytest.raises(DataError, match="no label"):
        scan_labels([])


def test_a_pair_without_a_mask_is_an_error(tmp_path):
    with pytest.raises(DataError, match="pair x has no label"):
        scan_labels([PairPaths("x", tmp_path, tmp_path, None)])


def test_the_first_unreadable_mask_is_named(masks):
    masks.add("a.png", grey())
    broken = masks.add("b.png", grey())
    broken.write_bytes(broken.read_bytes()[:40])

    with pytest.raises(ImageError, match=r"b\.png"):
        scan_labels(masks.pairs)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        (LabelEncoding("binary", (255,), (0,)), "0 = unchanged, 255 = changed"),
        (LabelEncoding("binary", (2,), (0,)), "0 = unchanged, 2 = changed (the only other value)"),
        (LabelEncoding("one_bit", (1,), (0,)), "1 bit, 0 = unchanged, 1 = changed"),
        (LabelEncoding("jpeg", (255,), (0,), 128), "JPEG grey, from 128 = changed"),
        (LabelEncoding("jpeg", (0,), (255,), 128), "JPEG grey, below 128 = changed"),
        (LabelEncoding("colour", (0xC80000,), (0,)), "#000000 = unchanged, #c80000 = changed"),
        (LabelEncoding("binary", (255,), (), None, 0), "255 = changed, 0 = ignored"),
        (LabelEncoding("polygons", (1,), (0,)), "inside a polygon = changed"),
    ],
)
def test_an_encoding_says_itself_in_one_line(encoding, text):
    assert encoding.describe() == text


@given(st.lists(st.sampled_from([0, 1, 255]), min_size=1, max_size=64))
def test_decoding_is_the_table_of_the_encoding(values):
    encoding = LabelEncoding("binary", (1,), (0,), ignore_value=255)
    raw = np.array([values], dtype=np.uint8)

    assert encoding.decode(raw).tolist() == raw.tolist()
    assert encoding.decode(raw.astype(np.int32)).tolist() == raw.tolist()
