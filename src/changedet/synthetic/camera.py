"""What air and camera do to a scene: haze, clouds, light, blur, noise and misregistration."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from changedet.synthetic.canvas import Plane, noise

_AIR = np.array([196, 204, 214], dtype=np.float32)


class Exposure(NamedTuple):
    """How one image was taken.

    ``gain`` and ``offset`` are RGB; ``slope`` is the change of brightness from one side to the
    other; ``haze`` and ``cloud`` in [0, 1] say how much of the ground they hide; ``blur`` is the
    share that each pixel gets from its two neighbours along an axis; ``noise`` is in grey levels;
    ``shift_px`` is the (down, right) misregistration.
    """

    gain: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    gamma: float
    slope: npt.NDArray[np.float64]
    haze: float
    cloud: float
    blur: float
    noise: float
    shift_px: tuple[float, float]


def draw_exposure(rng: np.random.Generator, *, largest_shift_px: float) -> Exposure:
    """Draw light, air and camera of one image."""
    shift = rng.uniform(-largest_shift_px, largest_shift_px, 2)
    return Exposure(
        gain=rng.uniform(0.88, 1.14) * (1 + rng.normal(0, 0.025, 3)),
        offset=rng.normal(0, 4, 3),
        gamma=rng.uniform(0.9, 1.12),
        slope=rng.normal(0, 0.05, 2),
        haze=rng.random() ** 2 * 0.3,
        cloud=rng.uniform(0.12, 0.38) if rng.random() < 0.2 else 0.0,
        blur=rng.uniform(0.0, 0.24),
        noise=rng.uniform(0.6, 2.4),
        shift_px=(float(shift[0]), float(shift[1])),
    )


def expose(
    scene: Plane, exposure: Exposure, *, margin_px: int, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Take the image of a drawn scene.

    Args:
        scene: Drawn scene, (H, W, 3).
        exposure: Light, air and camera.
        margin_px: What is cut off at each side, at least 2.
        rng: Source of haze, clouds and noise.

    Returns:
        The image without the margin, (H - 2 * margin_px, W - 2 * margin_px, 3).
    """
    side_px = scene.shape[0]
    ramp = np.linspace(-1, 1, side_px, dtype=np.float32)
    light = 1 + exposure.slope[0] * ramp[:, None] + exposure.slope[1] * ramp[None, :]
    veiled = _veil(scene * light.astype(np.float32)[..., None], exposure, rng)
    toned = np.float32(255) * np.power(np.clip(veiled / 255, 0, 1), np.float32(exposure.gamma))
    seen = toned * exposure.gain.astype(np.float32) + exposure.offset.astype(np.float32)
    image = _moved(_blurred(seen, exposure.blur), exposure.shift_px, margin_px)
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    noisy = image + np.float32(exposure.noise) * grain
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _veil(image: Plane, exposure: Exposure, rng: np.random.Generator) -> Plane:
    side_px = image.shape[0]
    veil = exposure.haze * (1 + 0.25 * noise(rng, side_px, cell_px=90.0))
    if exposure.cloud:
        puffs = noise(rng, side_px, cell_px=60.0) + 0.4 * noise(rng, side_px, cell_px=18.0)
        cloud = exposure.cloud * np.clip((puffs - 0.3) / 1.8, 0, 1)
        shade: Plane = np.roll(cloud, (-18, 14), axis=(0, 1))
        image = image * (1 - 0.7 * shade)[..., None]
        veil = veil + cloud
    veil = np.clip(veil, 0, 0.6)[..., None]
    veiled: Plane = image * (1 - veil) + _AIR * veil
    return veiled


def _blurred(image: Plane, share: float) -> Plane:
    middle, side = np.float32(1 - 2 * share / 2), np.float32(share / 2)
    for axis in (0, 1):
        image = middle * image + side * (np.roll(image, 1, axis) + np.roll(image, -1, axis))
    return image


def _moved(image: Plane, shift_px: tuple[float, float], margin_px: int) -> Plane:
    """Cut off the margin, shifted by part of a pixel, bilinear."""
    for axis, shift in enumerate(shift_px):
        start = margin_px - shift
        whole = int(np.floor(start))
        part = np.float32(start - whole)
        length = image.shape[axis] - 2 * margin_px
        near = image.take(np.arange(whole, whole + length), axis=axis)
        far = image.take(np.arange(whole + 1, whole + 1 + length), axis=axis)
        image = near * (1 - part) + far * part
    return image
