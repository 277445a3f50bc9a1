"""A remark on a pair of rasters, and who keeps it; :mod:`.remarks` decides what is said."""

from collections.abc import Callable, Iterable
from typing import Final, Literal

from changedet.storage.results import Record

Severity = Literal["note", "warning"]
#: What a remark is about.
Topic = Literal["place", "values", "alignment", "area", "model", "run"]

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
