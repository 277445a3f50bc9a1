"""What a synthetic scene is made of, in metres, and at which of the two dates it is there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from changedet.synthetic.shapes import Points, ribbon

Date = Literal["before", "after"]
Presence = Literal["both", "before", "after"]
Use = Literal["crop", "meadow", "forest", "garden", "yard"]
Material = Literal["construction", "concrete", "gravel", "verge"]
Surface = Literal["asphalt", "track"]
Roof = Literal["gable", "flat"]


@dataclass(frozen=True)
class Parcel:
    """A piece of land of one use.

    ``direction`` is that of its rows in radians, ``phase`` in [0, 1) places its crop in the year,
    ``tint`` shifts its colour, RGB in grey levels.
    """

    outline: Points
    use: Use
    direction: float
    phase: float
    tint: Points


@dataclass(frozen=True)
class Patch:
    """A piece of sealed or open ground within a parcel."""

    outline: Points
    material: Material
    direction: float
    presence: Presence = "both"


@dataclass(frozen=True)
class Water:
    """A pond or a river; ``murk`` in [0, 1] turns its colour from clear to muddy."""

    outline: Points
    murk: float
    presence: Presence = "both"


@dataclass(frozen=True)
class Road:
    """A road of ``width`` metres along a line of points."""

    line: Points
    width: float
    surface: Surface
    presence: Presence = "both"

    @property
    def outline(self) -> Points:
        """The ground that it covers."""
        return ribbon(self.line, self.width)


@dataclass(frozen=True)
class Building:
    """A building of ``height`` metres whose roof has an RGB ``colour``."""

    outline: Points
    height: float
    roof: Roof
    colour: Points
    presence: Presence = "both"


class Tree(NamedTuple):
    """A tree or bush with its crown's radius in metres and a shade in [-1, 1]."""

    x: float
    y: float
    radius: float
    is_conifer: bool
    shade: float


@dataclass(frozen=True)
class Landscape:
    """Everything that stands still, in drawing order, on square land of ``side`` metres."""

    side: float
    px_per_m: float = 1.0
    parcels: tuple[Parcel, ...] = ()
    patches: tuple[Patch, ...] = ()
    waters: tuple[Water, ...] = ()
    roads: tuple[Road, ...] = ()
    buildings: tuple[Building, ...] = ()
    trees: tuple[Tree, ...] = ()

    @property
    def side_px(self) -> int:
        """Side of its drawing in pixels."""
        return round(self.side * self.px_per_m)

    def changed_outlines(self) -> list[Points]:
        """Outlines of all that is there at one date only."""
        things: Iterable[Patch | Water | Road | Building] = (
            *self.patches,
            *self.waters,
            *self.roads,
            *self.buildings,
        )
        return [thing.outline for thing in things if thing.presence != "both"]
