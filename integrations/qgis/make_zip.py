# SPDX-License-Identifier: GPL-2.0-or-later
"""Packs the plugin as QGIS installs it: ``make_zip.py OUT``; the same files give the same bytes."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

PLUGIN = Path(__file__).parent / "changedet_qgis"
_PACKED = frozenset({".py", ".txt", ".md", ".svg", ".png", ".qml", ""})
# The earliest that a zip can state.
_DATE = (1980, 1, 1, 0, 0, 0)


def pack(out: Path) -> list[str]:
    """Write the zip.

    Args:
        out: The file; its folder is made.

    Returns:
        Names of the files in it, sorted, all in the folder of the plugin.

    Raises:
        OSError: If it cannot be written.
    """
    files = sorted(
        path
        for path in PLUGIN.rglob("*")
        if path.is_file() and path.suffix in _PACKED and "__pycache__" not in path.parts
    )
    names = [path.relative_to(PLUGIN.parent).as_posix() for path in files]
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, name in zip(files, names):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return names


if __name__ == "__main__":
    target = Path(sys.argv[1])
    count = len(pack(target))
    sys.stdout.write(f"{target}: {count} files, {target.stat().st_size / 1000:.0f} kB\n")
