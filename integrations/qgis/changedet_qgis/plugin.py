# SPDX-License-Identifier: GPL-2.0-or-later
"""What QGIS loads: it adds the provider to the Processing toolbox."""

from __future__ import annotations

from qgis.core import QgsApplication

from .provider import ChangedetProvider


class ChangedetPlugin:
    """Adds the provider while the plugin is switched on."""

    def __init__(self) -> None:
        self._provider: ChangedetProvider | None = None

    def initProcessing(self) -> None:
        """Add the provider; ``qgis_process`` calls this and nothing else."""
        self._provider = ChangedetProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Add the provider, in a window."""
        self.initProcessing()

    def unload(self) -> None:
        """Take the provider away."""
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
