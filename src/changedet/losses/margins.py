"""Margins of the contrastive loss, by distance; imports no torch."""

from collections.abc import Mapping
from typing import NamedTuple

from changedet.types import Distance


class Margins(NamedTuple):
    """Distances beyond which a pixel costs nothing more.

    Unchanged pixels cost nothing below ``unchanged``, changed ones nothing above ``changed``.
    """

    unchanged: float
    changed: float


#: Spec 2. Unit vectors are at most 2 apart, so the l2 margin 2.2 always pushes.
DEFAULT_MARGINS: Mapping[Distance, Margins] = {
    "l2": Margins(unchanged=0.3, changed=2.2),
    "cosine": Margins(unchanged=0.1, changed=0.8),
}
