"""8-bit images from files, whole and of the kind that was asked for, or an error."""

import contextlib
import hashlib
import importlib.util
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as PillowImage
from PIL.ImageFile import ImageFile

from changedet.data.file_names import RASTER_SUFFIXES as RASTER_SUFFIXES
from changedet.data.file_names import TIFF_SUFFIXES as TIFF_SUFFIXES
from changedet.errors import ImageError

Pixel = TypeVar("Pixel", bound=np.generic)

#: Largest image that is decoded, in pixels: in RGB it takes two gigabytes meanwhile, which a file
#: of a few bytes can claim. Larger ones are rasters, which are read in parts.
MAX_PIXELS: Final = 2**28

# The classes are called directly: Image.open() warns about images over 89 Mpx and refuses those
# over 179 Mpx, and its limit is global to the process.
_PLUGINS: Final[tuple[tuple[bytes, type[ImageFile]], ...]] = (
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"II*\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00*", TiffImagePlugin.TiffImageFile),
    (b"II+\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00+", TiffImagePlugin.TiffImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"GIF8", GifImagePlugin.GifImageFile),
    (b"RIFF", WebPImagePlugin.WebPImageFile),
)
# What Pillow raises for damaged files; warnings (of half a TIFF header) where they are errors.
_DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    LookupError,
    OverflowError,
    struct.error,
    zlib.error,
    PillowImage.DecompressionBombError,
    UserWarning,
)
_BANDS_OF_MODE: Final = {"L": 1, "RGB": 3, "CMYK": 4, "RGBA": 4, "RGBX": 4}
_MEANING_OF_MODE: Final = {
    "1": "1 bit",
    "L": "grey",
    "LA": "grey with an alpha band",
    "P": "palette",
    "PA": "palette with an alpha band",
    "RGBA": "RGB with an alpha band",
    "CMYK": "CMYK",
    "I": "32-bit integers",
    "F": "32-bit floating point",
}


def read_image(path: str | Path, *, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Read an 8-bit image, (H, W, C), values 0..255 in stored (RGB) order.

    Palette and 1-bit images are converted; nothing else is, so that neither an alpha band nor the
    lower half of 16 bits is dropped unseen. An image that its EXIF orientation calls turned or
    mirrored is set upright, as viewers show it.

    Args:
        path: PNG, JPEG, TIFF, BMP, WebP or GIF; the content decides, not the extension.
        channels: Number of bands wanted: 1, 3 or 4.

    Raises:
        ImageError: If the file is missing, damaged, too large or of another kind.
    """
    with open_pixels(Path(path)) as image:
        bands: PillowImage.Image = image
        if image.mode in ("P", "1") and "transparency" not in image.info:
            bands = image.convert("L" if channels == 1 else "RGB")
        if bits_per_sample(image) > 8 or _BANDS_OF_MODE.get(bands.mode) != channels:
            wanted = {1: "grey", 3: "RGB"}.get(channels, f"{channels}-band")
            raise ImageError(
                f"{path}: expected an 8-bit {wanted} image, got {describe(image)}; "
                "convert it, for example to an 8-bit RGB PNG or TIFF"
            )
        pixels = upright(np.array(bands, dtype=np.uint8), image)
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def image_size(path: Path) -> tuple[int, int]:
    """Read height and width in pixels, as :func:`read_image` gives them, from the header alone.

    Raises:
        ImageError: If the file is missing, damaged or too large.
    """
    with _open_header(path) as image:
        width, height = _stored_size(image)
        return (width, height) if image.info[_ORIENTATION] in _LYING else (height, width)


def count_bands(path: Path) -> int:
    """Tell from the header how many bands :func:`read_image` gives: palettes and bits are RGB.

    Raises:
        ImageError: If the file is missing, damaged or too large.
    """
    with _open_header(path) as image:
        return _BANDS_OF_MODE.get(image.mode, 3)


def image_orientation(path: Path) -> int:
    """Read the EXIF orientation, 1 to 8, from the header alone; 1 is upright.

    Raises:
        ImageError: If the file is missing, damaged or too large.
    """
    with _open_header(path) as image:
        return int(image.info[_ORIENTATION])


def upright(pixels: npt.NDArray[Pixel], image: ImageFile) -> npt.NDArray[Pixel]:
    """Turn pixels, (H, W) or (H, W, C), the way that the EXIF orientation of their file says.

    Args:
        pixels: As Pillow gives them.
        image: What they were decoded from, see :func:`open_pixels`.
    """
    orientation = image.info[_ORIENTATION]
    # Pillow turns TIFFs, and nothing else, by itself.
    if orientation == 1 or isinstance(image, TiffImagePlugin.TiffImageFile):
        return pixels
    if orientation in _LYING:
        pixels = pixels.swapaxes(0, 1)
    rows, columns = _FLIPS[orientation]
    return np.ascontiguousarray(pixels[::rows, ::columns])


def is_plain_picture(path: Path) -> bool:
    """Tell whether a TIFF is a picture and nothing more: one page of 8 bits without a place.

    Such a one is read as a picture, like a PNG. A TIFF with a georeference, a nodata value, a mask,
    further bands or other values is a raster.

    Raises:
        ImageError: If the file is missing.
    """
    if any(Path(f"{base}{suffix}").exists() for base, suffix in _sidecars(path)):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_TIFF_HEAD)
            if not head.startswith(_TIFF_STARTS):
                return path.suffix.lower() in TIFF_SUFFIXES or any(
                    head.startswith(start) for start, _ in _PLUGINS
                )
            # Not by Pillow's image class, which logs an error for bands that it does not know.
            tags = TiffImagePlugin.ImageFileDirectory_v2(head if b"+" in head[:4] else head[:8])
            file.seek(tags.next)
            tags.load(file)
    except FileNotFoundError as error:
        raise ImageError(f"cannot open {path}: {error.strerror}; check the path") from error
    except _DAMAGE:
        # What Pillow cannot read, the raster reader may; if not, it says why.
        return False
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    kind = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
    return (
        _SAMPLES_OF_KIND.get(kind) == samples
        and max(bits) <= _BYTE_BITS
        and set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) == {1}
        and not any(tag in tags for tag in _RASTER_TAGS)
        and not tags.next
    )


def is_raster(path: Path) -> bool:
    """Tell whether a file is to be read as a raster, with its bands, gaps and place.

    Raises:
        ImageError: If the file is missing, or a raster while nothing that reads one is installed.
    """
    if path.suffix.lower() not in RASTER_SUFFIXES or is_plain_picture(path):
        return False
    try:
        found = importlib.util.find_spec("rasterio")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ImageError(
            f"{path}: is a raster, and the package that reads rasters is not installed; get it "
            "with: pip install rasterio"
        )
    return True


def content_digest(path: Path) -> bytes:
    """Sum up the content of a file, so that equal files are found."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


def encode_image(pixels: npt.NDArray[np.generic]) -> bytes:
    """Encode pixels as a PNG file: grey (H, W) of 8 or 16 bit, or RGB (H, W, 3) of 8 bit."""
    buffer = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def open_pixels(path: Path) -> Iterator[ImageFile]:
    """Open an image and decode it whole, for callers that need more than :func:`read_image`.

    Raises:
        ImageError: If the file is missing, damaged, truncated or too large.
    """
    with _open_header(path) as image:
        try:
            _load(image, path)
            if getattr(image, "is_animated", False) and image.format != "TIFF":
                raise ImageError(
                    f"{path}: an animated image; save the frame to use as a file of its own"
                )
            yield image
        except MemoryError as error:
            raise ImageError(
                f"{path}: {image.width} x {image.height} pixels do not fit in memory; cut the "
                "image into tiles"
            ) from error


def _load(image: ImageFile, path: Path) -> None:
    try:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Pillow checks its global limit again before it allocates the pixels of a TIFF.
            image.im = PillowImage.new(image.mode, _stored_size(image)).im
        image.load()
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def bits_per_sample(image: ImageFile) -> int:
    """Tell how many bits a sample has in the file; Pillow halves 16-bit RGB without a word."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        declared = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
        return max(int(bits) for bits in declared)
    if isinstance(image, PngImagePlugin.PngImageFile):
        return int(image.info.get(_PNG_BITS, 8))
    return 8


def describe(image: ImageFile) -> str:
    """Say format and kind of pixels, for messages."""
    bits = bits_per_sample(image)
    meaning = _MEANING_OF_MODE.get(image.mode, image.mode)
    return f"{image.format} with {f'{bits}-bit ' if bits > 8 else ''}{meaning} pixels"


_PNG_BITS: Final = "bits per sample"
_ORIENTATION: Final = "orientation"
_ORIENTATION_TAG: Final = 0x0112
# EXIF 2.3: orientations whose rows are columns of the picture.
_LYING: Final = (5, 6, 7, 8)
# Direction of rows and columns, after the two were exchanged in those.
_FLIPS: Final = {
    2: (1, -1),
    3: (-1, -1),
    4: (-1, 1),
    5: (1, 1),
    6: (1, -1),
    7: (-1, -1),
    8: (-1, 1),
}
_TIFF_STARTS: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# Bytes that may hold the position of the first page: 8, or 16 in a BigTIFF.
_TIFF_HEAD: Final = 16
_BYTE_BITS: Final = 8
# Photometric interpretations of TIFF 6.0: grey (two ways), RGB, palette, CMYK, YCbCr.
_SAMPLES_OF_KIND: Final = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
# Of GeoTIFF (pixel scale, tie points, transformation, keys) and of GDAL (metadata, nodata).
_RASTER_TAGS: Final = (33550, 33922, 34264, 34735, 42112, 42113)
_PNG_BIT_DEPTH_AT: Final = 24


@contextlib.contextmanager
def _open_header(path: Path) -> Iterator[ImageFile]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(f"cannot open {path}: {error.strerror}; check the path") from error
    with file:
        head = file.read(_PNG_BIT_DEPTH_AT + 1)
        plugin = next((plugin for start, plugin in _PLUGINS if head.startswith(start)), None)
        if plugin is None:
            raise ImageError(
                f"{path}: not a supported image (PNG, JPEG, TIFF, BMP, WebP or GIF)"
                + ("; the file is empty" if not head else "; check the file or convert it")
            )
        file.seek(0)
        try:
            image = plugin(file, str(path))
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        if plugin is PngImagePlugin.PngImageFile:
            image.info[_PNG_BITS] = head[_PNG_BIT_DEPTH_AT]
        image.info[_ORIENTATION] = _read_orientation(image)
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"{path}: {image.width} x {image.height} pixels are more than the {MAX_PIXELS:,} "
                "that can be read at once; cut the image into tiles, or write it as a GeoTIFF"
            )
        yield image


def _stored_size(image: ImageFile) -> tuple[int, int]:
    """Width and height before turning; newer releases of Pillow say what comes after for TIFFs."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.size
    sides = TiffImagePlugin.IMAGEWIDTH, TiffImagePlugin.IMAGELENGTH
    width, height = (int(image.tag_v2[side]) for side in sides)
    return width, height


def _read_orientation(image: ImageFile) -> int:
    """Read it from the header, once: Pillow forgets it where it turns an image by itself."""
    value: object = None
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        value = image.tag_v2.get(_ORIENTATION_TAG)
    elif "exif" in image.info:
        exif = PillowImage.Exif()
        # A camera's damaged notes are no reason to refuse its picture.
        with contextlib.suppress(*_DAMAGE):
            exif.load(image.info["exif"])
            value = exif.get(_ORIENTATION_TAG)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _sidecars(path: Path) -> Iterator[tuple[Path, str]]:
    """Names of the files beside a TIFF that make it a raster."""
    for suffix in (".aux.xml", ".msk"):
        yield path, suffix
    for suffix in (".tfw", ".TFW", ".wld"):
        yield path.with_suffix(""), suffix


def _damaged(path: Path, error: BaseException) -> ImageError:
    reason = str(error).strip().rstrip(".") or type(error).__name__
    return ImageError(f"{path}: damaged or truncated image ({reason}); replace the file")
