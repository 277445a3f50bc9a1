"""Public benchmarks as rows: how their files lie, what to expect of them, whom to cite."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from changedet.choices import nearest
from changedet.errors import ConfigError

#: Stands for list files among the layouts of a benchmark.
LISTS: Final = "list files"


@dataclass(frozen=True)
class Edition:
    """One form in which a benchmark is passed around.

    Attributes:
        pairs: Number of pairs by split.
        size_px: Height and width, or None if they vary.
    """

    pairs: Mapping[str, int]
    size_px: int | None = None


@dataclass(frozen=True)
class Benchmark:
    """One row. A field that could not be verified is None.

    Attributes:
        name: As in papers.
        about: What changes there, and where.
        layouts: Layouts in which it comes, names of ``layouts.LAYOUTS`` or ``LISTS``.
        editions: Editions with known sizes and counts.
        label_values: Stored values of the labels.
        changed_share: Public figure of the share of changed pixels in the training split.
        inside: Folders of the published archive under which the data set begins.
        terms: Conditions of use, if stated; they bind whoever downloads the data.
        citation: The paper that introduced it.
    """

    name: str
    about: str
    layouts: tuple[str, ...]
    editions: tuple[Edition, ...] = ()
    label_values: str | None = None
    changed_share: float | None = None
    inside: tuple[str, ...] = ()
    terms: str | None = None
    citation: str = ""


BENCHMARKS: Final = (
    Benchmark(
        name="CDD",
        about="season-varying satellite images, any object that appears or disappears",
        layouts=(LISTS, "A/B"),
        editions=(Edition({"train": 10000, "val": 2998, "test": 3000}, 256),),
        label_values="JPEG grey, or 0/1 in OUT1 once prepared",
        changed_share=0.147,  # spec 2
        inside=("Real/subset", "subset", "ChangeDetectionDataset/Real/subset"),
        citation="Lebedev et al., Change detection in remote sensing images using conditional "
        "adversarial networks, ISPRS Archives 2018",
    ),
    Benchmark(
        name="LEVIR-CD",
        about="buildings in Texas, 0.5 m",
        layouts=("A/B", LISTS),
        editions=(
            Edition({"train": 445, "val": 64, "test": 128}, 1024),
            Edition({"train": 7120, "val": 1024, "test": 2048}, 256),
        ),
        label_values="0/255",
        terms="academic use only (Google Earth imagery)",
        citation="Chen and Shi, A spatial-temporal attention-based method and a new dataset for "
        "remote sensing image change detection, Remote Sensing 12(10), 2020",
    ),
    Benchmark(
        name="LEVIR-CD+",
        about="buildings in Texas, 0.5 m, near nadir; the successor of LEVIR-CD",
        layouts=("A/B", LISTS),
        editions=(Edition({"train": 637, "test": 348}, 1024),),
        label_values="0/255",
        citation="Shen et al., S2Looking: a satellite side-looking dataset for building change "
        "detection, Remote Sensing 13(24), 2021",
    ),
    Benchmark(
        name="WHU-CD",
        about="buildings in Christchurch before and after rebuilding, aerial; one large pair, "
        "passed around as tiles of several splits",
        layouts=("A/B", LISTS),
        label_values="0/255",
        citation="Ji et al., Fully convolutional networks for multisource building extraction "
        "from an open aerial and satellite imagery data set, IEEE TGRS 57(1), 2019",
    ),
    Benchmark(
        name="CLCD",
        about="cropland in Guangdong that turns into something else, Gaofen-2, 0.5 to 2 m",
        layouts=("time1/time2", "A/B", LISTS),
        editions=(
            Edition({"train": 360, "val": 120, "test": 120}, 512),
            Edition({"train": 1440, "val": 480, "test": 480}, 256),
        ),
        label_values="0/255",
        citation="Liu et al., A CNN-transformer network with multiscale context aggregation for "
        "fine-grained cropland change detection, IEEE JSTARS 15, 2022",
    ),
    Benchmark(
        name="SYSU-CD",
        about="buildings, roads, vegetation and sea construction in Hong Kong, aerial, 0.5 m",
        layouts=("time1/time2", "A/B", LISTS),
        editions=(Edition({"train": 12000, "val": 4000, "test": 4000}, 256),),
        label_values="0/255",
        citation="Shi et al., A deeply supervised attention metric-based network and an open "
        "aerial image dataset for remote sensing change detection, IEEE TGRS 60, 2022",
    ),
    Benchmark(
        name="DSIFN-CD",
        about="six Chinese cities, any change, Google Earth",
        layouts=("T1/T2", "A/B", LISTS),
        editions=(Edition({"train": 3600, "val": 340, "test": 48}, 512),),
        citation="Zhang et al., A deeply supervised image fusion network for change detection in "
        "high resolution bi-temporal remote sensing images, ISPRS Journal 166, 2020",
    ),
    Benchmark(
        name="GZ-CD",
        about="suburbs of Guangzhou over the seasons, Google Earth; large images, no split",
        layouts=("im1/im2", "T1/T2", "A/B", LISTS),
        citation="Peng et al., SemiCDNet: a semisupervised convolutional neural network for "
        "change detection in high resolution remote-sensing images, IEEE TGRS 59(7), 2021",
    ),
)


def find_benchmark(name: str) -> Benchmark:
    """Look up a row; case, spaces, dashes and underscores do not matter.

    Raises:
        ConfigError: If there is no such row; the message names the nearest.
    """
    rows = {_key(row.name): row for row in BENCHMARKS}
    if _key(name) in rows:
        return rows[_key(name)]
    names = [row.name for row in BENCHMARKS]
    hint = nearest(name, names, otherwise="omit it for other data.")
    raise ConfigError(f"unknown benchmark {name!r}; {hint} Known: {', '.join(names)}")


def differences(row: Benchmark, pairs: Mapping[str, int]) -> str | None:
    """Say how numbers of pairs by split differ from every edition; None if one fits.

    A split that is not there is no difference: not everybody has them all.
    """
    if not row.editions or any(pairs.items() <= e.pairs.items() for e in row.editions):
        return None
    published = " or ".join(_by_split(edition.pairs) for edition in row.editions)
    return f"{row.name} as published has {published} pairs, but this one has {_by_split(pairs)}"


def _by_split(pairs: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {number}" for split, number in pairs.items())


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())
