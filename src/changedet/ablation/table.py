"""An ablation's table: rows that differ in an ingredient, and claims about them, as data."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from changedet.choices import nearest
from changedet.errors import ConfigError
from changedet.storage.text import is_file, read_text
from changedet.storage.validation import Section, describe
from changedet.storage.yaml import yaml_tree
from changedet.training.config import ExperimentConfig, load_config

DEFAULT_TABLE = "dasnet_v2"
#: Names of shipped tables in earlier versions.
_FORMER_NAMES = {"seed": DEFAULT_TABLE}


def _no_zero(value: float) -> float:
    if value == 0.0:
        raise ValueError("the claimed difference must be non-zero")
    return value


def _present_quantity(name: object) -> object:
    return "false_positive_objects" if name == "blotches" else name


class Row(Section):
    """One row: a recipe and what is changed in it.

    Attributes:
        name: Short name, also of the row's folder.
        title: Name for the report.
        recipe: Name of a recipe or a YAML file; None: the table's ``base``.
        changes: Settings by dotted key, such as ``model.attention: none``; ``set`` in YAML.
        note: What a reader of the report should know.
        published: Max-F1 that the authors of the experiment report for it, on data of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    title: str
    recipe: str | None = None
    changes: dict[str, Any] = Field(default_factory=dict, alias="set")
    note: str = ""
    published: float | None = Field(None, ge=0.0, le=1.0)


class DifferenceClaim(Section):
    """A row's F1 differs from another's: ``row`` minus ``against`` is about ``difference``."""

    kind: Literal["difference"]
    text: str
    row: str
    against: str
    difference: Annotated[float, AfterValidator(_no_zero), Field(gt=-1.0, lt=1.0)]

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows it speaks of."""
        return (self.row, self.against)


class CostClaim(Section):
    """A row needs less of something than another."""

    kind: Literal["lower_cost"]
    text: str
    row: str
    against: str
    quantity: Literal["parameters", "gflop", "average_memory", "peak_memory"]

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows it speaks of."""
        return (self.row, self.against)


class HeatMapClaim(Section):
    """A row's heat maps are cleaner than another's: fewer false positives, or a sharper contrast.

    ``blotches`` is what ``false_positive_objects`` were called before.
    """

    kind: Literal["heat_maps"]
    text: str
    row: str
    against: str
    quantity: Annotated[
        Literal["false_positive_objects", "contrast"], BeforeValidator(_present_quantity)
    ]

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows it speaks of."""
        return (self.row, self.against)


class LossSpreadClaim(Section):
    """The loss terms of a row stay nearly equal: their spread is at most ``at_most``."""

    kind: Literal["loss_spread"]
    text: str
    row: str
    at_most: float = Field(0.1, gt=0.0)

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows it speaks of."""
        return (self.row,)


class RankCorrelationClaim(Section):
    """Max-F1 and AUC rise together over the validations of a run; no ``rows``: of every run."""

    kind: Literal["rank_correlation"]
    text: str
    rows: tuple[str, ...] = ()


Claim: TypeAlias = Annotated[
    DifferenceClaim | CostClaim | HeatMapClaim | LossSpreadClaim | RankCorrelationClaim,
    Field(discriminator="kind"),
]


class AblationTable(Section):
    """What is compared with what.

    Attributes:
        title: Heading of the report.
        description: A paragraph below it.
        base: Recipe of the rows that name none.
        rows: The rows, in the order of the report.
        claims: What the rows are expected to show.
    """

    title: str
    description: str = ""
    base: str | None = None
    rows: tuple[Row, ...] = Field(min_length=1)
    claims: tuple[Claim, ...] = ()

    def row(self, name: str) -> Row:
        """Find a row.

        Raises:
            ConfigError: If there is none of that name; the message names the nearest.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise ConfigError(f"there is no row {name!r}; {nearest(name, [r.name for r in self.rows])}")


def list_tables() -> list[str]:
    """Names of the tables that come with the package, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in (resources.files("changedet") / "recipes" / "ablations").iterdir()
        if entry.name.endswith(".yaml")
    )


def load_table(source: str) -> AblationTable:
    """Read a table from the name of a shipped one or a YAML file.

    Recipes that a file names are looked for beside it first.

    Raises:
        ConfigError: If it cannot be read or something in it is wrong; unknown keys come with the
            nearest known one.
    """
    text, folder = _read_source(source)
    table = parse_table(text, origin=source)
    if folder is None:
        return table
    rows = tuple(
        row.model_copy(update={"recipe": _beside(folder, row.recipe)}) for row in table.rows
    )
    return table.model_copy(update={"base": _beside(folder, table.base), "rows": rows})


def parse_table(text: str, *, origin: str) -> AblationTable:
    """Validate a table.

    Args:
        text: The table as YAML.
        origin: Where it comes from, for messages.

    Raises:
        ConfigError: As :func:`load_table`.
    """
    tree = yaml_tree(text, origin=origin, error=ConfigError)
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{origin} must contain 'title: …' and 'rows: …', got {type(tree).__name__}"
        )
    try:
        table = AblationTable.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {describe(error, AblationTable)}") from error
    _check_names(table, origin)
    return table


def dump_table(table: AblationTable) -> str:
    """Table as YAML that :func:`parse_table` reads."""
    return yaml.safe_dump(table.model_dump(mode="json", by_alias=True), sort_keys=False)


def row_config(
    table: AblationTable, row: Row, *, overrides: Iterable[str] = (), last: Iterable[str] = ()
) -> ExperimentConfig:
    """Settle a row's settings: its recipe, then ``overrides``, then its own changes, then ``last``.

    The row's own changes come after what the user overrides for all rows, since they are what
    makes it that row.

    Args:
        table: The table.
        row: One of its rows.
        overrides: ``section.key=value``, for all rows alike.
        last: The same, stronger than the row: the seed and a budget in epochs.

    Raises:
        ConfigError: For an unknown recipe, an unknown key or a value out of range.
    """
    return load_config(recipe_of(table, row), overrides=(*overrides, *row_overrides(row), *last))


def recipe_of(table: AblationTable, row: Row) -> str:
    """Name of the recipe, or path of the file, that a row starts from.

    Raises:
        ConfigError: If neither the row nor the table names one.
    """
    recipe = row.recipe or table.base
    if recipe is None:
        raise ConfigError("the row has no recipe and the table no base; set one of them")
    return recipe


def row_overrides(row: Row) -> list[str]:
    """Changes of a row as ``section.key=value``, the value in YAML."""
    return [f"{key}={_yaml_value(value)}" for key, value in row.changes.items()]


def _yaml_value(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.strip().removesuffix("...").strip()


def _read_source(source: str) -> tuple[str, Path | None]:
    path = Path(source)
    if is_file(path):
        return read_text(path, error=ConfigError), path.parent
    name = _FORMER_NAMES.get(source, source)
    if name in list_tables():
        shipped = resources.files("changedet") / "recipes" / "ablations" / f"{name}.yaml"
        return shipped.read_text(encoding="utf-8"), None
    raise ConfigError(
        f"{source!r} is neither a file nor a table of the package; {nearest(source, list_tables())}"
    )


def _beside(folder: Path, recipe: str | None) -> str | None:
    is_beside = recipe is not None and is_file(folder / recipe)
    return str(folder / str(recipe)) if is_beside else recipe


def _check_names(table: AblationTable, origin: str) -> None:
    names = [row.name for row in table.rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{origin}: the row name {twice[0]!r} occurs twice; rename one")
    for claim in table.claims:
        for name in claim.rows:
            if name not in names:
                raise ConfigError(
                    f"{origin}: the claim {claim.text!r} refers to a row {name!r} that does not "
                    f"exist; {nearest(name, names)}"
                )
