"""How training samples are varied, as settings; no PyTorch."""

from dataclasses import dataclass, fields

from changedet.errors import ConfigError
from changedet.types import PixelType

_PROBABILITIES = (
    "horizontal_flip",
    "vertical_flip",
    "quarter_turns",
    "swap_dates",
    "match_histograms",
    "paste",
    "changed_crops",
)
#: What is varied of the colour of a date.
COLOURS = ("brightness", "contrast", "saturation", "hue")
#: Channels of an image that has hue and saturation.
RGB = 3
_LARGEST_ZOOM = 16.0
_LARGEST_SHIFT_PX = 64.0


@dataclass(frozen=True)
class Augmentation:
    """How training samples are varied; everything is off by default.

    Geometry is drawn once per pair, so that before, after and label stay on top of each other.
    Colour is drawn for each date by itself.

    Attributes:
        horizontal_flip: Probability of mirroring left and right.
        vertical_flip: Probability of mirroring top and bottom.
        quarter_turns: Probability of rotating by 90, 180 or 270 degrees, each equally likely.
        scale: Range of the zoom, drawn evenly on a logarithmic scale: 2 shows half the ground
            along each side. Zooming out ends where the whole shorter side is seen. None: no zoom.
        brightness: Largest relative change of brightness, in [0, 1].
        contrast: Largest relative change of contrast, in [0, 1].
        saturation: Largest relative change of saturation, in [0, 1]; 8-bit images of three
            channels only.
        hue: Largest shift of the hue as a share of the colour circle, in [0, 0.5]; likewise.
        swap_dates: Probability of exchanging before and after; the label stays.
        shift_px: Largest shift of after against before and the label along each axis, in pixels
            of the sample; sub-pixel, bilinear, with the edge replicated.
        match_histograms: Probability of giving one date, each equally likely, the histogram of the
            other, channel by channel, before its colour is varied: as if one sensor had taken
            both on one day.
        paste: Probability of pasting a rectangle of another sample in, both dates and label: its
            changes then lie among surroundings that they never had (Yun et al., CutMix, ICCV 2019).
        sensor: How much haze, gamma, sharpness, noise and compression of each date are varied, in
            [0, 1]; 8-bit images only.
        changed_crops: Probability of drawing a crop again, a few times at most, until at least one
            pixel in a hundred has changed.

    Raises:
        ConfigError: If a value is out of range.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    quarter_turns: float = 0.0
    scale: tuple[float, float] | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    swap_dates: float = 0.0
    shift_px: float = 0.0
    match_histograms: float = 0.0
    paste: float = 0.0
    sensor: float = 0.0
    changed_crops: float = 0.0

    def __post_init__(self) -> None:
        upper = dict.fromkeys((*_PROBABILITIES, *COLOURS, "sensor"), 1.0)
        upper |= {"hue": 0.5, "shift_px": _LARGEST_SHIFT_PX}
        for field in fields(self):
            if field.name == "scale":
                _check_scale(self.scale)
            elif not 0.0 <= getattr(self, field.name) <= upper[field.name]:
                raise ConfigError(
                    f"augmentation.{field.name} must be in [0, {upper[field.name]:g}], "
                    f"got {getattr(self, field.name)}"
                )

    def check_channels(self, channels: int, *, pixel_type: PixelType = "uint8") -> None:
        """Refuse changes that such images cannot undergo.

        Raises:
            ConfigError: If one is asked for.
        """
        if pixel_type != "uint8":
            self._refuse(
                ("sensor",), f"only 8-bit images can be varied like that, got {pixel_type}"
            )
        if channels != RGB or pixel_type != "uint8":
            self._refuse(
                ("saturation", "hue"),
                f"only 8-bit images of {RGB} channels have such colours, got {pixel_type} of "
                f"{channels}",
            )

    def _refuse(self, names: tuple[str, ...], reason: str) -> None:
        asked = [f"augmentation.{name}" for name in names if getattr(self, name) != 0.0]
        if asked:
            them = "it" if len(asked) == 1 else "them"
            zeros = ", ".join(f"`{name}=0`" for name in asked)
            raise ConfigError(f"{' and '.join(asked)}: {reason}; turn {them} off ({zeros})")


def _check_scale(scale: tuple[float, float] | None) -> None:
    if scale is None:
        return
    if len(scale) != 2 or not 1 / _LARGEST_ZOOM <= scale[0] <= scale[1] <= _LARGEST_ZOOM:
        raise ConfigError(
            "augmentation.scale must be two zooms (low, high) with "
            f"{1 / _LARGEST_ZOOM:g} <= low <= high <= {_LARGEST_ZOOM:g}, got {tuple(scale)}"
        )
