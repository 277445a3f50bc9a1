"""Verdicts as they are given and as they are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import shapely

    from changedet.view.bodies import Verdict
    from changedet.view.geometry import Box


class ConflictError(Exception):
    """Somebody else has changed a row meanwhile.

    Attributes:
        current: The row as it is now; None: there is none.
    """

    def __init__(self, current: Row | None) -> None:
        super().__init__(
            "somebody else has judged this polygon meanwhile"
            if current is not None
            else "somebody else has taken this verdict back meanwhile"
        )
        self.current = current


class ReadOnlyError(Exception):
    """The review cannot be written to; the text says why."""


class NewVerdict(NamedTuple):
    """A verdict as somebody gives it; polygon and window in pixels.

    Attributes:
        verdict: What is said of the polygon.
        polygon: Its outline.
        result_id: Number of the polygon of the result that it is about, if it is about one.
        note: Anything to be remembered.
        who: Who gives it, if that is known.
        window: What was looked at.
        mean_score: Mean score inside, if known.
        max_score: Highest score inside, if known.
        threshold: At which it was traced, if it was.
    """

    verdict: Verdict
    polygon: shapely.Polygon
    result_id: int | None = None
    note: str = ""
    who: str | None = None
    window: Box | None = None
    mean_score: float | None = None
    max_score: float | None = None
    threshold: float | None = None


class Row(NamedTuple):
    """A verdict as it is stored; polygon and window in pixels."""

    uid: str
    new: NewVerdict
    when: str
    area_m2: float | None
    area_px: float
    revision: int


class LookedAt(NamedTuple):
    """A window that was looked at without a verdict, in pixels."""

    uid: str
    window: Box
    who: str | None
    when: str
    revision: int


class Changes(NamedTuple):
    """What a review holds, or what has changed in it since a revision.

    Attributes:
        revision: Of the file.
        rows: Verdicts.
        windows: Windows without verdicts.
        deleted: UIDs of what was taken back, and at which revision.
    """

    revision: int
    rows: list[Row]
    windows: list[LookedAt]
    deleted: list[tuple[str, int]]
