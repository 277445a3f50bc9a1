"""The base of every section of a settings file."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every settings section: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
