"""The demo's second act: two real rasters that lie in a checkout, mapped without training."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneReport

#: Change vector analysis: on this pair it finds what a person would point at.
METHOD: Final = "baseline:cva"
BEFORE: Final = "landsat_2000.tif"
AFTER: Final = "landsat_2020.tif"
#: Of an editable installation this is the checkout; elsewhere there is no such folder.
_FOLDER: Final = Path(__file__).parents[3] / "examples" / "data"


def map_real_pair(
    out: Path,
    *,
    folder: Path = _FOLDER,
    say: Callable[[str], None] = lambda message: None,
) -> SceneReport | None:
    """Map what changed between the two rasters, in seconds.

    Args:
        out: Folder for the results.
        folder: Where the rasters lie.
        say: Gets sentences for the user.

    Returns:
        What was found, or None if the rasters are not there.

    Raises:
        StorageError: If the results cannot be written.
    """
    before, after = folder / BEFORE, folder / AFTER
    if not (before.is_file() and after.is_file()):
        say("there are no real rasters outside of a checkout: this part is left out")
        return None
    say(f"mapping {BEFORE} to {AFTER} by change vector analysis")
    return predict_scene(before, after, model=METHOD, out=out)
