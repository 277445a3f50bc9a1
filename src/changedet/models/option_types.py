"""Ranges that the options of several networks share, as types.

A network's options are the keyword arguments of its class. The settings file reads their names,
types, ranges and defaults from there, so that an option is written down once; a range is an
annotation of the `annotated-types` package, which pydantic enforces.
"""

from typing import Annotated

from annotated_types import Ge, Lt

#: Channels of the images.
Channels = Annotated[int, Ge(1)]
#: Channels inside a network. Networks can be built narrower than a settings file may ask for.
Width = Annotated[int, Ge(8)]
#: Share of something that is dropped in training.
DropShare = Annotated[float, Ge(0.0), Lt(1.0)]
