"""Ranges that the options of several networks share, as types.

A range is an annotation of the `annotated-types` package, which pydantic enforces where settings
are read.
"""

from typing import Annotated

from annotated_types import Ge, Le, Lt, MaxLen, MinLen

#: Channels of the images.
Channels = Annotated[int, Ge(1), Le(4096)]
#: Channels inside a network. Networks can be built narrower than a settings file may ask for.
Width = Annotated[int, Ge(8), Le(8192)]
#: Share of something that is dropped in training.
DropShare = Annotated[float, Ge(0.0), Lt(1.0)]
#: Names of the kinds of change that a network tells apart, one output each.
Kinds = Annotated[tuple[Annotated[str, MaxLen(40)], ...], MinLen(1), MaxLen(32)]
#: Tokens that describe a date.
TokenCount = Annotated[int, Ge(1), Le(1024)]
#: Layers of a transformer.
LayerCount = Annotated[int, Ge(1), Le(64)]
