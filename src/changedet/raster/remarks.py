"""The one place that decides what is said about a pair of rasters, and in which words.

What is measured or noticed reaches this module as a fact (:class:`changedet.raster.facts.PairFacts`
and the like), and leaves it as remarks. Every remark is told at once, stands in ``summary.json``,
and if it is a warning, is repeated at the end of a run. What concerns a model, too, is worded in
:mod:`changedet.predict.remarks`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from changedet.raster.align import Coverage
from changedet.raster.facts import PairFacts
from changedet.raster.shift import ShiftEstimate
from changedet.storage.results import Record

Severity = Literal["note", "warning"]
#: What a remark is about.
Topic = Literal["place", "values", "alignment", "area", "model", "run"]

#: From this residual shift on, in pixels, the user is warned.
LARGE_SHIFT_PX: Final = 1.0
_WARNING: Final = "warning: "


class Remark(Record):
    """Something that the user should know about a pair.

    Attributes:
        severity: ``warning`` if the result may be wrong, else ``note``.
        topic: What it is about.
        text: One sentence.
    """

    severity: Severity
    topic: Topic
    text: str

    @property
    def sentence(self) -> str:
        """The text, with what marks a warning."""
        return _WARNING + self.text if self.severity == "warning" else self.text


def note(topic: Topic, text: str) -> Remark:
    """Make a remark that is good to know."""
    return Remark(severity="note", topic=topic, text=text)


def warning(topic: Topic, text: str) -> Remark:
    """Make a remark on what may make the result wrong."""
    return Remark(severity="warning", topic=topic, text=text)


class Remarks:
    """Tells remarks as they come, each once, and keeps them.

    Attributes:
        told: Those that were told.

    Args:
        say: Gets each as a sentence.
    """

    def __init__(self, say: Callable[[str], None] = lambda message: None) -> None:
        self.told: list[Remark] = []
        self._say = say

    def add(self, *remarks: Remark) -> None:
        """Tell and keep remarks."""
        for remark in remarks:
            if remark not in self.told:
                self.told.append(remark)
                self._say(remark.sentence)

    def tell(self, message: str, *, topic: Topic = "run") -> None:
        """Tell and keep a sentence that comes from elsewhere; ``warning: `` at its start counts."""
        text = message.removeprefix(_WARNING)
        self.add(warning(topic, text) if text != message else note(topic, text))

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that was told, as sentences."""
        return tuple(remark.sentence for remark in self.told)


def warnings_of(remarks: Iterable[Remark]) -> tuple[str, ...]:
    """Give the texts of the warnings among remarks."""
    return tuple(remark.text for remark in remarks if remark.severity == "warning")


def remarks_on_reading(facts: PairFacts) -> Iterator[Remark]:
    """Say how two rasters are read."""
    if not facts.has_crs:
        yield note("place", "neither raster has a CRS: they are compared pixel by pixel")
    if facts.resampled is not None:
        yield note(
            "place",
            f"{facts.after} is resampled ({facts.resampled}) onto the grid of {facts.before}",
        )
    if facts.is_stretch_unused:
        yield note("values", "`stretch` has no effect: both rasters have 8-bit values")
    for name, dtype in facts.other_types:
        yield note(
            "values",
            f"the model was trained on {facts.trained_on}; {name} has {dtype} values, which are "
            "used as they are",
        )


def remarks_on_alignment(
    coverage: Coverage,
    shape: tuple[int, int],
    shift: ShiftEstimate | None,
    *,
    coregister: str,
) -> Iterator[Remark]:
    """Say how two rasters lie over each other.

    Args:
        coverage: Shares of the rasters that are common.
        shape: Height and width of the common area.
        shift: What was measured, if it could be.
        coregister: What was asked for.
    """
    height, width = shape
    yield note(
        "alignment",
        f"common area {width}x{height} px: {100 * coverage.before:.1f} % of before, "
        f"{100 * coverage.after:.1f} % of after",
    )
    if shift is None:
        yield note(
            "alignment",
            "the shift between the dates could not be measured (too little overlap, or tiles that "
            "disagree)",
        )
        return
    yield note(
        "alignment",
        f"residual shift of after: {shift.right_px:+.2f} px right, {shift.down_px:+.2f} px down "
        f"(spread {shift.spread_px:.2f} px, {shift.tiles_used} of {shift.tiles_tried} tiles)",
    )
    if coregister == "global":
        yield note("alignment", "this shift is corrected")
    elif shift.length_px > LARGE_SHIFT_PX:
        yield warning(
            "alignment",
            f"the dates lie {shift.length_px:.1f} px apart, which looks like change; use "
            '`coregister="global"` to correct it',
        )
