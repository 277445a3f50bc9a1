"""What all kinds of inputs have in common."""

from typing import Any, ClassVar

from fuzz.engine import REFUSALS


class Source:
    """Defaults of a reader; ``_valid`` holds what it damages."""

    name: ClassVar[str]
    needs_torch: ClassVar[bool] = False
    refusals: tuple[type[BaseException], ...] = REFUSALS

    def __init__(self) -> None:
        self._valid: list[Any] = []
