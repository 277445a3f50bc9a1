"""A picture that shows the result of a scene at a glance, made in memory that does not grow."""

from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from changedet.predict.job import SceneJob
from changedet.raster.cog import read_reduced
from changedet.raster.geo_grid import GeoGrid
from changedet.rendering.pictures import write_png
from changedet.rendering.preview import draw_preview, preview_frame


class OutlineMap:
    """Marks where outlines run, for a picture of a whole scene.

    Attributes:
        lines: Where an outline runs, (H, W).
    """

    def __init__(self, grid: GeoGrid) -> None:
        width, height = preview_frame(grid.shape).size
        self.lines: NDArray[np.bool_] = np.zeros((height, width), np.bool_)
        to_scene = grid.transform.scale(grid.width / width, grid.height / height)
        self._to_picture = ~(grid.transform @ to_scene)
        # So that no pixel of the picture is left out between two points of a line.
        self._step = abs((grid.transform @ to_scene).determinant) ** 0.5 / 2

    def add(self, polygons: NDArray[np.object_]) -> None:
        """Mark the outlines of polygons, (N,), in coordinates of the grid."""
        x, y = shapely.get_coordinates(shapely.segmentize(polygons, self._step)).T
        t = self._to_picture
        height, width = self.lines.shape
        columns = np.clip((t.a * x + t.b * y + t.c).astype(np.intp), 0, width - 1)
        rows = np.clip((t.d * x + t.e * y + t.f).astype(np.intp), 0, height - 1)
        self.lines[rows, columns] = True


def write_preview(job: SceneJob, *, score: Path, outlines: OutlineMap, path: Path) -> None:
    """Write the picture: both dates, the score, and the outlines of the changes on AFTER.

    Args:
        job: What was settled before.
        score: The scores of the scene, as a COG.
        outlines: Of what is in the polygon file.
        path: The PNG file.

    Raises:
        ImageError: If a raster cannot be read.
        StorageError: If the file cannot be written.
    """
    pixels = job.pair.read_reduced(job.plan.target, longest_px=max(outlines.lines.shape))
    scores = read_reduced(score, pixels.valid.shape)
    scores[~pixels.valid] = np.nan
    picture = draw_preview(
        pixels.before,
        pixels.after,
        score=scores,
        outlines=outlines.lines,
        threshold=job.threshold,
    )
    write_png(path, picture)
