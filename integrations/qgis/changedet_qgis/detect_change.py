# SPDX-License-Identifier: GPL-2.0-or-later
"""The algorithm *Detect change*: parameters, the run of the command, layers."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtGui import QIcon

from .command import CommandError, Request, clean_environment
from .layers import add_to_project, raster_file, write_region
from .messages import Line, Listener, Meaning
from .process import run_command
from .products import Results, read_results

BEFORE, AFTER, MODEL, KIND = "BEFORE", "AFTER", "MODEL", "KIND"
THRESHOLD, MIN_AREA, GSD = "THRESHOLD", "MIN_AREA", "GSD"
AOI_LAYER, AOI_EXTENT = "AOI_LAYER", "AOI_EXTENT"
FURTHER, OVERWRITE, LOAD, OUTPUT = "FURTHER", "OVERWRITE", "LOAD", "OUTPUT"
MASK, SCORE, POLYGONS = "MASK", "SCORE", "POLYGONS"
CHANGED, COUNT = "CHANGED_PERCENT", "POLYGON_COUNT"
_HELP = """
<p>Finds what changed between two rasters of the same place and gives a change mask, a
score map and outlines of the changes. The rasters may differ in extent, CRS and resolution; the
results have the grid of <i>Before</i>.</p>
<p><b>Model</b>: a name of the list, a model file (.safetensors, or .onnx, which needs no PyTorch),
the folder of a training run, or a method without training such as <code>baseline:ir_mad</code>.</p>
<p><b>Kind of change</b>: of those that the model tells apart; empty: its first.</p>
<p><b>Ground sample distance</b>: the side of a pixel in metres, if the raster's CRS does not say
it.</p>
<p><b>Area of interest</b>: a layer of polygons or an extent, not both.</p>
<p><b>Output folder</b>: new or empty, unless results of an earlier run are to be replaced. A run
that was cancelled goes on from its finished tiles if it is started again with the same folder.</p>
<p><b>Further options</b>: of <code>changedet predict</code>, as on the command line, such as
<code>--bands 4,3,2 --stretch auto --coregister</code>.</p>
<p>The work is done by the changedet command, which is installed apart from QGIS. If it is not on
PATH, enter its path under Settings &gt; Options &gt; Processing &gt; Providers &gt; changedet.</p>
"""
_Parameters = dict[str, Any]


class DetectChange(QgsProcessingAlgorithm):
    """Runs ``changedet predict`` on two rasters.

    Args:
        find: Gives the path of the command, or raises :class:`CommandError`.
    """

    def __init__(self, find: Callable[[], str]) -> None:
        super().__init__()
        self._find = find

    def createInstance(self) -> DetectChange:
        """Make another one, for a run."""
        return DetectChange(self._find)

    def name(self) -> str:
        """Name in scripts."""
        return "detectchange"

    def displayName(self) -> str:
        """Name in the toolbox."""
        return "Detect change"

    def shortDescription(self) -> str:
        """What it does, in a line."""
        return "Maps what changed between two rasters of the same place."

    def shortHelpString(self) -> str:
        """Text beside the parameters."""
        # QGIS would keep the line breaks.
        return " ".join(_HELP.split())

    def tags(self) -> list[str]:
        """Further words by which it is found."""
        return ["change detection", "deep learning", "before", "after", "difference"]

    def icon(self) -> QIcon:
        """Picture in the toolbox."""
        return QIcon(str(Path(__file__).parent / "icon.svg"))

    def initAlgorithm(self, configuration: object = None) -> None:
        """Declare parameters and outputs."""
        self.addParameter(QgsProcessingParameterRasterLayer(BEFORE, "Before (first date)"))
        self.addParameter(QgsProcessingParameterRasterLayer(AFTER, "After (second date)"))
        self.addParameter(_text(MODEL, "Model", widget="ModelWidget"))
        self.addParameter(_text(KIND, "Kind of change", widget="KindWidget", optional=True))
        self.addParameter(
            _number(THRESHOLD, "Threshold in [0, 1]; not set: the model's", highest=1.0)
        )
        self.addParameter(
            _number(MIN_AREA, "Smallest polygon in m² (pixels without CRS); not set: 16 pixels")
        )
        self.addParameter(
            QgsProcessingParameterFeatureSource(
                AOI_LAYER,
                "Area of interest: layer of polygons",
                [QgsProcessing.SourceType.TypeVectorPolygon],
                optional=True,
            )
        )
        self.addParameter(
            QgsProcessingParameterExtent(AOI_EXTENT, "Area of interest: extent", optional=True)
        )
        for parameter in (
            _number(GSD, "Ground sample distance in metres; not set: from the CRS"),
            _text(FURTHER, "Further options of changedet predict", optional=True),
        ):
            _make_advanced(parameter)
            self.addParameter(parameter)
        self.addParameter(
            QgsProcessingParameterBoolean(OVERWRITE, "Replace earlier results", defaultValue=False)
        )
        self.addParameter(
            QgsProcessingParameterBoolean(LOAD, "Add the results to the project", defaultValue=True)
        )
        self.addParameter(QgsProcessingParameterFolderDestination(OUTPUT, "Output folder"))
        self.addOutput(QgsProcessingOutputRasterLayer(MASK, "Change mask"))
        self.addOutput(QgsProcessingOutputRasterLayer(SCORE, "Change score"))
        self.addOutput(QgsProcessingOutputVectorLayer(POLYGONS, "Outlines of the changes"))
        self.addOutput(QgsProcessingOutputNumber(CHANGED, "Changed, in % of the pixels with data"))
        self.addOutput(QgsProcessingOutputNumber(COUNT, "Number of polygons"))

    def checkParameterValues(
        self, parameters: _Parameters, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Tell mistakes before anything runs."""
        try:
            if not self.parameterAsString(parameters, MODEL, context).strip():
                raise CommandError("no model is chosen: choose one of the list, or a model file")
            if parameters.get(AOI_LAYER) and parameters.get(AOI_EXTENT):
                raise CommandError("area of interest: clear either the layer or the extent")
            self._find()
        except CommandError as error:
            return False, str(error)
        return super().checkParameterValues(parameters, context)

    def processAlgorithm(
        self,
        parameters: _Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback | None,
    ) -> dict[str, Any]:
        """Run the command and add its results to the project.

        Raises:
            QgsProcessingException: With one line, if it fails.
        """
        feedback = feedback or QgsProcessingFeedback()
        try:
            request = self._request(parameters, context, feedback)
            finished = _run([self._find(), *request.words()], feedback)
        except CommandError as error:
            raise QgsProcessingException(str(error)) from error
        if not finished:
            feedback.pushInfo(
                f"cancelled; with the output folder {request.out} the next run goes on from the "
                "finished tiles"
            )
            return {OUTPUT: request.out}
        try:
            results = read_results(Path(request.out), model=request.model)
        except (OSError, ValueError, KeyError) as error:
            raise QgsProcessingException(
                f"the results in {request.out} cannot be read ({error}); are plugin and command of "
                "one version?"
            ) from error
        if self.parameterAsBool(parameters, LOAD, context) and context.project() is not None:
            add_to_project(results.products, context)
        return {OUTPUT: request.out, **_outputs(results)}

    def _request(
        self,
        parameters: _Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> Request:
        """Translate the parameters."""
        places = []
        for name in (BEFORE, AFTER):
            layer = self.parameterAsRasterLayer(parameters, name, context)
            if layer is None:
                raise QgsProcessingException(self.invalidRasterError(parameters, name))
            places.append(raster_file(layer, feedback))

        def number(name: str) -> float | None:
            is_set = parameters.get(name) is not None
            return self.parameterAsDouble(parameters, name, context) if is_set else None

        region, region_crs = self._region(parameters, context)
        return Request(
            before=places[0],
            after=places[1],
            model=self.parameterAsString(parameters, MODEL, context),
            out=self.parameterAsFileOutput(parameters, OUTPUT, context),
            kind=self.parameterAsString(parameters, KIND, context).strip() or None,
            gsd_m=number(GSD),
            threshold=number(THRESHOLD),
            min_area=number(MIN_AREA),
            region=region,
            region_crs=region_crs,
            overwrite=self.parameterAsBool(parameters, OVERWRITE, context),
            further=self.parameterAsString(parameters, FURTHER, context),
        )

    def _region(
        self, parameters: _Parameters, context: QgsProcessingContext
    ) -> tuple[str | None, str | None]:
        """Give the area of interest as the command takes it, and the CRS of four numbers."""
        source = self.parameterAsSource(parameters, AOI_LAYER, context)
        if source is not None:
            return write_region(source, context), None
        box = self.parameterAsExtent(parameters, AOI_EXTENT, context)
        if not parameters.get(AOI_EXTENT) or box.isNull():
            return None, None
        sides = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        crs = self.parameterAsExtentCrs(parameters, AOI_EXTENT, context)
        # A CRS of the user's own has a number that only QGIS knows.
        name = crs.authid() if not crs.authid().startswith("USER:") else crs.toWkt()
        return ",".join(map(repr, sides)), name or None


def _run(words: list[str], feedback: QgsProcessingFeedback) -> bool:
    """Run the command; False: it was cancelled.

    Raises:
        CommandError: If it fails.
    """
    listener = Listener()

    def hear(text: str) -> None:
        line = listener.hear(text)
        if line is not None:
            _show(line, feedback)

    feedback.pushCommandInfo(shlex.join(words))
    feedback.setProgressText("reading the two dates")
    try:
        ended = run_command(
            words, environment=clean_environment(), hear=hear, is_cancelled=feedback.isCanceled
        )
    except OSError as error:
        raise CommandError(f"{words[0]} cannot be started: {error.strerror or error}") from error
    if ended.cancelled:
        return False
    if ended.code:
        raise CommandError(listener.why(ended.code))
    feedback.setProgress(100)
    return True


def _show(line: Line, feedback: QgsProcessingFeedback) -> None:
    if line.meaning is Meaning.PROGRESS:
        feedback.setProgress(line.percent)
        if line.text:
            feedback.setProgressText(line.text)
    elif line.meaning is Meaning.WARNING:
        feedback.pushWarning(line.text)
    elif line.meaning is Meaning.NOTE:
        feedback.pushInfo(line.text)
    # Errors are raised when the command has ended, so that they are shown once.


def _outputs(results: Results) -> dict[str, Any]:
    found: dict[str, Any] = {product.output: str(product.path) for product in results.products}
    if results.changed_percent is not None:
        found[CHANGED] = results.changed_percent
    if results.polygons is not None:
        found[COUNT] = results.polygons
    return found


def _text(
    name: str, title: str, *, widget: str | None = None, optional: bool = False
) -> QgsProcessingParameterString:
    parameter = QgsProcessingParameterString(name, title, optional=optional)
    if widget is not None:
        # By its name: without a window nothing of a window is loaded.
        place = f"{__package__}.widgets.{widget}"
        parameter.setMetadata({"widget_wrapper": {"class": place}})
    return parameter


def _number(name: str, title: str, *, highest: float = 1e12) -> QgsProcessingParameterNumber:
    return QgsProcessingParameterNumber(
        name,
        title,
        type=QgsProcessingParameterNumber.Type.Double,
        optional=True,
        minValue=0.0,
        maxValue=highest,
    )


def _make_advanced(parameter: QgsProcessingParameterDefinition) -> None:
    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    parameter.setFlags(parameter.flags() | advanced)
