"""Empty figures, and files of them; matplotlib draws without a display and without global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from changedet.errors import ConfigError
from changedet.storage.atomic import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


def check_format(path: Path) -> None:
    """Refuse a file of a kind that charts are not written in.

    Raises:
        ConfigError: If it has another ending than .png, .jpg or .jpeg.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"a plot is a file in {', '.join(_FORMATS)}, got {path.name!r}")


def blank_figure(*, width: float, height: float, dpi: int) -> Figure:
    """Make an empty figure, size in inches, that no display or global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a picture.

    Raises:
        ConfigError: If the file has another ending than .png, .jpg or .jpeg.
        StorageError: If it cannot be written.
    """
    check_format(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=_FORMATS[path.suffix.lower()])
    write_bytes(path, buffer.getvalue())
