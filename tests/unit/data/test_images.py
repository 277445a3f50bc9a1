import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from changedet.data import images
from changedet.data.images import (
    encode_image,
    image_orientation,
    image_size,
    is_plain_picture,
    open_pixels,
    read_image,
)
from changedet.data.labels.masks import inspect_mask
from changedet.errors import ImageError


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def png_16_bit_rgb(height, width):
    """Pillow cannot write this kind, so it is put together by hand."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(6)) * width for _ in range(height))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("bmp", {}),
        ("webp", {"lossless": True}),
    ],
)
def test_a_lossless_image_comes_back_pixel_by_pixel(tmp_path, suffix, options):
    pixels = noise(20, 30, 3)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).save(path, **options)

    assert np.array_equal(read_image(path), pixels)
    assert image_size(path) == (20, 30)


def test_the_content_decides_and_not_the_extension(tmp_path):
    pixels = noise(8, 8, 3)
    path = tmp_path / "image.jpg"
    Image.fromarray(pixels).save(path, format="PNG")

    assert np.array_equal(read_image(path), pixels)


def test_a_jpeg_is_read_as_rgb(tmp_path):
    path = tmp_path / "image.jpg"
    Image.new("RGB", (16, 24), (200, 100, 50)).save(path, quality=95)

    pixels = read_image(path)

    assert pixels.shape == (24, 16, 3)
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() <= 3


def test_palette_and_one_bit_images_are_converted_to_the_wanted_bands(tmp_path):
    palette, bits = tmp_path / "palette.png", tmp_path / "bits.png"
    Image.new("RGB", (4, 4), (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE).save(
        palette
    )
    Image.fromarray(np.eye(4, dtype=bool)).save(bits)

    assert read_image(palette)[0, 0].tolist() == [10, 20, 30]
    assert np.array_equal(read_image(bits, channels=1)[:, :, 0], np.eye(4, dtype=np.uint8) * 255)
    assert read_image(bits).shape == (4, 4, 3)


def test_four_band_images_are_read_when_four_channels_are_wanted(tmp_path):
    pixels = noise(6, 7, 4)
    path = tmp_path / "bands.tif"
    Image.fromarray(pixels).save(path)

    assert np.array_equal(read_image(path, channels=4), pixels)


@pytest.mark.parametrize(
    ("image", "channels", "word"),
    [
        (Image.fromarray(noise(4, 4, 4)), 3, "alpha"),
        (Image.fromarray(noise(4, 4)), 3, "grey"),
        (Image.fromarray(noise(4, 4, 3)), 1, "RGB"),
        (Image.fromarray(noise(4, 4).astype(np.uint16)), 1, "I;16"),
        (Image.fromarray(noise(4, 4).astype(np.uint16)), 3, "16-bit"),
    ],
)
def test_an_image_of_another_kind_is_refused_and_the_kind_is_named(tmp_path, image, channels, word):
    path = tmp_path / "image.png"
    image.save(path)

    with pytest.raises(ImageError, match=r"expected an 8-bit .*convert") as error:
        read_image(path, channels=channels)
    assert word in str(error.value)
    assert str(path) in str(error.value)


def test_sixteen_bit_rgb_is_refused_instead_of_halved(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(png_16_bit_rgb(3, 5))
    assert Image.open(io.BytesIO(path.read_bytes())).mode == "RGB"

    with pytest.raises(ImageError, match="16-bit"):
        read_image(path)


def test_a_palette_with_transparency_is_not_taken_for_rgb(tmp_path):
    path = tmp_path / "see-through.png"
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(path, transparency=0)

    with pytest.raises(ImageError, match="palette"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp", "gif"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_an_error_with_its_path(tmp_path, suffix, share):
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(noise(40, 40, 3)).save(whole)
    content = whole.read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(ImageError, match="truncated") as error:
        read_image(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b"GeoJSON", "supported")])
def test_a_file_that_is_no_image_is_an_error(tmp_path, content, word):
    path = tmp_path / "image.png"
    path.write_bytes(content)

    with pytest.raises(ImageError, match=word):
        read_image(path)


def test_a_missing_file_is_an_error_with_its_path(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.png"):
        read_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_image_over_pillows_own_limit_is_read(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"large.{suffix}"
    Image.fromarray(noise(50, 60, 3)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)

    assert read_image(path).shape == (50, 60, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_an_image_over_the_own_limit_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    Image.fromarray(noise(50, 60, 3)).save(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 2999)

    with pytest.raises(ImageError, match=r"60 x 50 pixels.*tiles"):
        read_image(path)


def test_memory_that_does_not_suffice_is_told_in_one_line(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    Image.fromarray(noise(4, 4, 3)).save(path)

    def fail(self):
        raise MemoryError

    monkeypatch.setattr(images.PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(ImageError, match=r"4 x 4 pixels do not fit in memory"):
        read_image(path)


def test_encoded_png_holds_the_same_pixels_in_one_band(tmp_path):
    mask = (noise(9, 11) > 127).astype(np.uint8)
    path = tmp_path / "mask.png"
    path.write_bytes(encode_image(mask))

    with open_pixels(path) as image:
        assert image.mode == "L"
    assert np.array_equal(read_image(path, channels=1)[:, :, 0], mask)


def test_a_path_may_be_text(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(encode_image(np.full((3, 4, 3), 7, np.uint8)))
    assert read_image(str(path)).shape == (3, 4, 3)


TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", list(TURNS))
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("webp", {"lossless": True}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
    ],
)
def test_pictures_are_turned_upright(tmp_path, suffix, options, orientation):
    pixels = noise(6, 9, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, **options)

    assert np.array_equal(read_image(path), TURNS[orientation](pixels))
    assert image_size(path) == TURNS[orientation](pixels).shape[:2]
    assert image_orientation(path) == orientation


def test_damaged_exif_is_no_reason_to_refuse_a_picture(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(noise(6, 9, 3)).save(path, exif=b"Exif\x00\x00MM\x00*\xff\xff")

    assert read_image(path).shape == (6, 9, 3)


@pytest.mark.parametrize(
    ("pixels", "options", "is_plain"),
    [
        (noise(4, 4, 3), {}, True),
        (noise(4, 4), {}, True),
        (noise(4, 4) > 99, {}, True),
        (noise(4, 4, 3), {"compression": "jpeg"}, True),
        (noise(4, 4, 4), {}, False),
        (noise(4, 4).astype(np.uint16), {}, False),
        (noise(4, 4).astype(np.float32), {}, False),
        (noise(4, 4, 3), {"tiffinfo": {42113: "0"}}, False),
        (noise(4, 4, 3), {"save_all": True, "append_images": [Image.new("RGB", (4, 4))]}, False),
    ],
)
def test_a_tiff_is_a_picture_if_it_holds_nothing_else(tmp_path, pixels, options, is_plain):
    path = tmp_path / "image.tif"
    Image.fromarray(pixels).save(path, **options)

    assert is_plain_picture(path) is is_plain
    (tmp_path / "image.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    assert not is_plain_picture(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_a_few_bytes_that_claim_gigabytes_are_refused_from_the_header(tmp_path, name):
    path = tmp_path / name
    Image.new("L", (7, 5)).save(path)
    content = bytearray(path.read_bytes())
    if name == "a.png":
        content[16:24] = struct.pack(">II", 60_000, 60_000)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif name == "a.bmp":
        content[18:26] = struct.pack("<ii", 60_000, 60_000)
    else:
        # Width and height, tags 256 and 257, as long or short integers.
        for tag in (256, 257):
            at = max(content.find(struct.pack("<HH", tag, kind)) for kind in (3, 4))
            content[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 60_000)
    path.write_bytes(content)
    for read in (images.image_size, images.read_image, inspect_mask):
        with pytest.raises(ImageError, match="60000 x 60000 pixels are more than"):
            read(path)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_a_moving_image_is_refused_but_its_size_is_known(tmp_path, name):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert images.image_size(tmp_path / name) == (8, 8)
    with pytest.raises(ImageError, match="an animated image; save the frame"):
        images.read_image(tmp_path / name)


def test_an_image_that_does_not_fit_in_memory_is_refused_wherever_that_shows(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with (
        pytest.raises(ImageError, match="do not fit in memory"),
        images.open_pixels(tmp_path / "a.png"),
    ):
        raise MemoryError
