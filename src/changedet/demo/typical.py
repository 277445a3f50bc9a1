"""Which test pairs of a demo are typical: those whose F1 is in the middle."""

import re
from pathlib import Path

_TYPICAL = 3
_PANEL = re.compile(r"\d+_(?P<kind>[a-z]+(?:_change)?)(?:_f1-(?P<f1>[\d.]+))?_(?P<name>.+)")


def typical_panels(folder: Path) -> list[Path]:
    """Give the panels of the pairs whose F1 is in the middle, in the order of their F1."""
    panels = sorted(folder.glob("*_median_*.png"))
    first = (len(panels) - _TYPICAL + 1) // 2 if len(panels) > _TYPICAL else 0
    return panels[first : first + _TYPICAL]


def pair_of(panel: Path) -> str:
    """Give the name of the pair that a panel shows."""
    found = _PANEL.fullmatch(panel.stem)
    return panel.stem if found is None else found["name"]
