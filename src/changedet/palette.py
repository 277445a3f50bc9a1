"""The colour of change, one for the mask's colour table, the QGIS styles and every overlay."""

from typing import Final

#: Red of changed pixels and outlines (R, G, B), in the mask's colour table and in the QGIS styles.
CHANGED_COLOUR: Final = (214, 39, 40)
