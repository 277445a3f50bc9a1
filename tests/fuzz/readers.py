"""Everything that reads a file or a text of a stranger."""

from fuzz.engine import Reader
from fuzz.models import Checkpoints, Journals, ModelCards, ModelFiles, WeightFiles
from fuzz.places import Images, Rasters, RegionTexts, VectorFiles
from fuzz.texts import CommandLines, Lists, Manifests, Normalisations, ResultFiles, Settings

READERS: tuple[Reader, ...] = (
    VectorFiles(),
    RegionTexts(),
    Manifests(),
    Lists(),
    ModelCards(),
    Journals(),
    Images(),
    Rasters(),
    # Those that import PyTorch come last: what forks before is small.
    Settings(),
    ResultFiles(),
    ModelFiles(),
    WeightFiles(),
    Checkpoints(),
    Normalisations(),
    CommandLines(),
)
