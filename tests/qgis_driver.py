"""Runs the QGIS plugin's algorithm in QGIS' own Python, as a window would; no pytest here.

Reads cases as JSON from standard input and prints what became of them as JSON. It is started by
``tests/integration/test_qgis_plugin.py`` with a Python that has PyQGIS, without a window.
"""

import json
import os
import sys

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

PLUGINS = os.environ["QGIS_PLUGINPATH"].split(os.pathsep)


class Feedback(QgsProcessingFeedback):
    """Notes what is said; cancels at a share of the work."""

    def __init__(self, cancel_at):
        super().__init__(False)  # noqa: FBT003
        self.said = {"info": [], "warning": [], "error": [], "percent": []}
        self._cancel_at = cancel_at

    def pushInfo(self, text):  # noqa: N802
        self.said["info"].append(text)

    def pushCommandInfo(self, text):  # noqa: N802
        self.said.setdefault("command", text)

    def pushWarning(self, text):  # noqa: N802
        self.said["warning"].append(text)

    def reportError(self, text, fatalError=False):  # noqa: N802, N803, FBT002
        self.said["error"].append(text)

    def setProgress(self, percent):  # noqa: N802
        self.said["percent"].append(percent)
        if self._cancel_at is not None and percent >= self._cancel_at:
            self.cancel()


def value(given):
    """Make a layer where one is described; other values stay."""
    if not isinstance(given, dict):
        return given
    kind = given["layer"]
    if kind == "file":
        layer = QgsRasterLayer(given["path"], given["name"])
        if "crs" in given:
            layer.setCrs(QgsCoordinateReferenceSystem(given["crs"]))
    elif kind == "tiles":
        uri = f"type=xyz&zmin=0&zmax=1&url=file://{given['path']}/{{z}}/{{x}}/{{y}}.png"
        layer = QgsRasterLayer(uri, given["name"], "wms")
    else:
        layer = QgsVectorLayer(f"Polygon?crs={given['crs']}", given["name"], "memory")
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(*given["box"])))
        layer.dataProvider().addFeatures([feature] if given["box"] else [])
        layer.updateExtents()
    assert layer.isValid(), given
    QgsProject.instance().addMapLayer(layer)
    return layer.id()


def described(layer, root):
    """Say how a layer is drawn."""
    style = layer.renderer().type()
    if style == "singleSymbol":
        style = layer.renderer().symbol().symbolLayer(0).layerType()
    node = root.findLayer(layer.id())
    return {"name": layer.name(), "style": style, "shown": node.isVisible()}


def run(case):
    """Run the algorithm once, and load what it made."""
    from processing.core.ProcessingConfig import ProcessingConfig
    from processing.gui.Postprocessing import handleAlgorithmResults

    project = QgsProject.instance()
    project.clear()
    ProcessingConfig.setSettingValue("CHANGEDET_COMMAND", case.get("command", ""))
    context = QgsProcessingContext()
    context.setProject(project)
    feedback = Feedback(case.get("cancel_at"))
    parameters = {name: value(given) for name, given in case["parameters"].items()}
    inputs = set(project.mapLayers())
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("changedet:detectchange")
    fine, message = algorithm.checkParameterValues(parameters, context)
    if not fine:
        return {"refused": message}
    try:
        results, succeeded = algorithm.run(parameters, context, feedback, {}, False)  # noqa: FBT003
    except QgsProcessingException as error:
        return {"failed": str(error), **feedback.said}
    said = {**feedback.said, "percent": list(feedback.said["percent"])}
    handleAlgorithmResults(algorithm, context, feedback)
    root = project.layerTreeRoot()
    order = [layer for layer in root.layerOrder() if layer.id() not in inputs]
    layers = [described(layer, root) for layer in order]
    return {
        **said,
        "results": results,
        "succeeded": succeeded,
        "layers": layers,
    }


def main():
    """Start QGIS without a window, then run all cases."""
    application = QgsApplication([], False)  # noqa: FBT003
    application.initQgis()
    sys.path[:0] = [*PLUGINS, f"{QgsApplication.pkgDataPath()}/python/plugins"]
    from processing.core.Processing import Processing

    Processing.initialize()
    import changedet_qgis

    plugin = changedet_qgis.classFactory(None)
    plugin.initProcessing()
    outcomes = [run(case) for case in json.load(sys.stdin)]
    plugin.unload()
    assert "changedet" not in {p.id() for p in QgsApplication.processingRegistry().providers()}
    sys.stdout.write(f"OUTCOMES {json.dumps(outcomes)}\n")
    sys.stdout.flush()
    # QGIS is not good at ending within Python.
    os._exit(0)


main()
