"""8-bit images from files, whole and of the kind that was asked for, or an error."""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

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

from changedet.errors import ImageError

#: Largest image that is decoded, in pixels; a header that claims more is taken for damaged.
MAX_PIXELS: Final = 30_000 * 30_000

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
    lower half of 16 bits is dropped unseen.

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
        pixels = np.array(bands, dtype=np.uint8)
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def image_size(path: Path) -> tuple[int, int]:
    """Read height and width in pixels from the header alone.

    Raises:
        ImageError: If the file is missing, damaged or too large.
    """
    with _open_header(path) as image:
        return image.height, image.width


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
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                # Pillow checks its global limit again before it allocates the pixels of a TIFF.
                image.im = PillowImage.new(image.mode, image.size).im
            image.load()
        except _DAMAGE as error:
            raise _damaged(path, error) from error
        except MemoryError as error:
            raise ImageError(
                f"{path}: {image.width} x {image.height} pixels do not fit in memory; cut the "
                "image into tiles"
            ) from error
        yield image


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
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"{path}: {image.width} x {image.height} pixels are more than the {MAX_PIXELS:,} "
                "that can be read at once; cut the image into tiles"
            )
        yield image


def _damaged(path: Path, error: BaseException) -> ImageError:
    reason = str(error).strip().rstrip(".") or type(error).__name__
    return ImageError(f"{path}: damaged or truncated image ({reason}); replace the file")
