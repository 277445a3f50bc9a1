"""The options that several networks share are refused by one function; no PyTorch."""

from collections.abc import Mapping
from typing import Any, Final, get_args

from changedet.choices import check_choice, check_share
from changedet.errors import ConfigError
from changedet.types import Distance, Fusion, Output

# An option of one name means the same in every network.
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "fusion": get_args(Fusion),
    "output": get_args(Output),
    "distance": get_args(Distance),
}
_SHARES: Final = ("dropout", "drop_path")
_COUNTS: Final = ("decoder_width", "tokens", "decoder_layers")


def check_options(options: Mapping[str, Any], *, least_width: int = 1) -> None:
    """Refuse options of a network that have a value that does not exist.

    Options of other names are left to what is built from them.

    Args:
        options: All options of the network.
        least_width: Smallest ``decoder_width`` that it can be built with.

    Raises:
        ConfigError: If one does, or a network that compares embeddings is to tell kinds of change
            apart.
    """
    for name, choices in _CHOICES.items():
        if name in options:
            check_choice(name, options[name], choices)
    for name in _SHARES:
        if name in options:
            check_share(name, options[name])
    for name in _COUNTS:
        count = options.get(name)
        least = least_width if name == "decoder_width" else 1
        if count is not None and count < least:
            raise ConfigError(f"{name} must be at least {least}, got {count}")
    if options.get("output") == "distance" and len(options["kinds"]) > 1:
        raise ConfigError(
            "a network that compares embeddings finds one kind of change, got "
            f"{len(options['kinds'])} (model.kinds); set model.output=logit"
        )
