# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers of QGIS as files for the command, and its files as layers."""

from __future__ import annotations

from collections.abc import Sequence

from processing.gui.RenderingStyles import RenderingStyles
from qgis.core import (
    QgsFeature,
    QgsFields,
    QgsGeometry,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsVectorFileWriter,
    QgsWkbTypes,
)

from .command import CommandError
from .products import Product

#: Identifier of the algorithm, by which QGIS keeps the user's own styles of its outputs.
ALGORITHM = "changedet:detectchange"


def raster_file(layer: QgsRasterLayer, feedback: QgsProcessingFeedback) -> str:
    """Give the file of a layer, or what GDAL opens in its place.

    Raises:
        CommandError: If the layer has none.
    """
    name, provider = layer.name(), layer.dataProvider().name()
    # Options for opening it stand behind a bar.
    place = layer.source().split("|")[0]
    if provider != "gdal" or place.startswith("/vsimem/"):
        origin = "in the memory of QGIS" if provider == "gdal" else f"from the source {provider!r}"
        raise CommandError(
            f"the layer {name!r} is {origin} and not a file, which changedet could open; save it "
            "first: right click > Export > Save As, as GeoTIFF"
        )
    own, shown = layer.dataProvider().crs(), layer.crs()
    if own != shown:
        says = own.userFriendlyIdentifier() if own.isValid() else "no CRS"
        feedback.pushWarning(
            f"the file of {name!r} says {says}, which changedet goes by, though the project shows "
            f"it in {shown.userFriendlyIdentifier()}; Raster > Projections > Assign Projection "
            "writes a CRS into the file"
        )
    return place


def write_region(source: QgsProcessingFeatureSource, context: QgsProcessingContext) -> str:
    """Write polygons, of the selected features if the user wants only those, into a new file.

    Returns:
        Its path.

    Raises:
        CommandError: If there are none, or they cannot be written.
    """
    path = QgsProcessingUtils.generateTempFilename("area_of_interest.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    writer = QgsVectorFileWriter.create(
        path,
        QgsFields(),
        QgsWkbTypes.Type.MultiPolygon,
        source.sourceCrs(),
        context.transformContext(),
        options,
    )
    written = 0
    for feature in source.getFeatures():
        if feature.hasGeometry():
            # Arcs and heights are nothing that the command reads.
            shape = feature.geometry().constGet().segmentize()
            shape.dropZValue()
            shape.dropMValue()
            outline = QgsGeometry(shape)
            outline.convertToMultiType()
            copy = QgsFeature()
            copy.setGeometry(outline)
            written += writer.addFeature(copy)
    problem = writer.errorMessage()
    # The file is complete once the writer is gone.
    del writer
    if problem:
        raise CommandError(f"the area of interest cannot be written: {problem}")
    if not written:
        raise CommandError("the area of interest has no polygons; choose another layer, or none")
    return path


def add_to_project(products: Sequence[Product], context: QgsProcessingContext) -> None:
    """Have results loaded when the algorithm is done, the first one uppermost."""
    arrangement: list[str | None] = [None] * len(products)
    for number, product in enumerate(products):
        details = QgsProcessingContext.LayerDetails(
            product.title, context.project(), product.output
        )
        finish = _Finish(product, arrangement, number)
        # QGIS keeps no reference of its own.
        _Finish.kept.append(finish)
        details.setPostProcessor(finish)
        context.addLayerToLoadOnCompletion(str(product.path), details)


class _Finish(QgsProcessingLayerPostProcessorInterface):
    """Styles a layer and puts it in its place among the results of the same run."""

    kept: list[_Finish] = []  # noqa: RUF012 - of all runs

    def __init__(self, product: Product, arrangement: list[str | None], number: int) -> None:
        super().__init__()
        self._product = product
        self._arrangement = arrangement
        self._number = number

    def postProcessLayer(
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        """Called once the layer is in the project."""
        # Processing leaves the style beside a file alone, and has loaded the user's own, if any.
        if not RenderingStyles.getStyle(ALGORITHM, self._product.output):
            layer.loadNamedStyle(str(self._product.style))
            layer.triggerRepaint()
        self._arrangement[self._number] = layer.id()
        root = (context.project() or QgsProject.instance()).layerTreeRoot()
        node = root.findLayer(layer.id())
        if node is not None:
            node.setItemVisibilityChecked(self._product.is_shown)
        for identifier in reversed(self._arrangement):
            node = root.findLayer(identifier) if identifier else None
            if node is not None:
                group = node.parent()
                group.insertChildNode(0, node.clone())
                group.removeChildNode(node)
        _Finish.kept.remove(self)
