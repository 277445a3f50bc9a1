# SPDX-License-Identifier: GPL-2.0-or-later
"""The provider in the Processing toolbox, and its one setting."""

from __future__ import annotations

from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .command import find_command
from .detect_change import DetectChange

#: Name of the setting that holds the path of the command.
COMMAND_SETTING = "CHANGEDET_COMMAND"
ICON = str(Path(__file__).parent / "icon.svg")


def installed_command() -> str:
    """Find the command, by the setting or on PATH.

    Raises:
        CommandError: If it is not there.
    """
    return find_command(ProcessingConfig.getSetting(COMMAND_SETTING) or "")


class ChangedetProvider(QgsProcessingProvider):
    """Offers the algorithms."""

    def id(self) -> str:
        """Name in scripts: ``changedet:detectchange``."""
        return "changedet"

    def name(self) -> str:
        """Name in the toolbox."""
        return "changedet"

    def icon(self) -> QIcon:
        """Picture in the toolbox."""
        return QIcon(ICON)

    def load(self) -> bool:
        """Add the setting, then the algorithms."""
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        ProcessingConfig.addSetting(
            Setting(
                self.name(),
                COMMAND_SETTING,
                "The changedet command, or the environment that it is in (empty: found on PATH)",
                "",
                valuetype=Setting.STRING,
            )
        )
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Take the setting away."""
        ProcessingConfig.removeSetting(COMMAND_SETTING)

    def loadAlgorithms(self) -> None:
        """Add the algorithms."""
        self.addAlgorithm(DetectChange(installed_command))
