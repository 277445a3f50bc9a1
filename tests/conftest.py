"""Tiny data that every test may use: made from a seed, in a temporary folder."""

import os
from collections.abc import Callable
from pathlib import Path

# Several test processes with several threads each wait for one another most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image


def write_pair(
    root: Path, name: str, *, seed: int, size_px: int = 64, changed: bool = True
) -> None:
    """Write A/NAME.png, B/NAME.png and label/NAME.png; the change is a bright square."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 120, (size_px, size_px, 3), dtype=np.uint8)
    label = np.zeros((size_px, size_px), np.uint8)
    if changed:
        top, left = rng.integers(0, size_px // 2, 2)
        label[top : top + size_px // 2, left : left + size_px // 2] = 255
    after = ground + rng.integers(0, 20, ground.shape, dtype=np.uint8)
    after[label > 0] = rng.integers(200, 255, (int((label > 0).sum()), 3), dtype=np.uint8)
    for folder, array in (("A", ground), ("B", after), ("label", label)):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def write_split_folders(root: Path, *, size_px: int = 64, counts: tuple[int, int, int]) -> Path:
    """Write train/, val/ and test/ with so many pairs each."""
    for number, (split, count) in enumerate(zip(("train", "val", "test"), counts, strict=True)):
        for index in range(count):
            write_pair(root / split, f"{index:03}", seed=100 * number + index, size_px=size_px)
    return root


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64x64 pairs: 7 for training, 2 for validation, 2 for testing. Do not change them."""
    return write_split_folders(tmp_path_factory.mktemp("pairs"), counts=(7, 2, 2))


@pytest.fixture
def own_pairs_folder(tmp_path: Path) -> Path:
    """The same, smaller, for tests that damage it."""
    return write_split_folders(tmp_path / "own", counts=(4, 2, 1))


@pytest.fixture
def blank_labels() -> Callable[[Path], None]:
    """Make a function that sets all labels of a split folder to unchanged."""

    def blank(split: Path) -> None:
        for path in (split / "label").glob("*.png"):
            Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)

    return blank
