# SPDX-License-Identifier: GPL-2.0-or-later
"""QGIS plugin: change detection with the installed ``changedet`` command."""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:  # noqa: ANN401
    """Make the plugin; QGIS calls this."""
    # What needs no QGIS can be imported, and tested, without it.
    from .plugin import ChangedetPlugin

    return ChangedetPlugin()
