"""What is imported is declared, and what is declared is imported."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def distribution(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def imported(folder: Path) -> dict[str, str]:
    """Packages of other people that our files import, each with one of these files."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                found.setdefault(name.partition(".")[0], str(path.relative_to(folder)))
    own = {*sys.stdlib_module_names, "changedet"}
    return {name: path for name, path in found.items() if name not in own}


def providers(package: str) -> set[str]:
    names = importlib.metadata.packages_distributions().get(package, [package])
    return {name.lower().replace("_", "-") for name in names}


EXTRAS = {
    distribution(requirement)
    for group in PROJECT["optional-dependencies"].values()
    for requirement in group
}
DECLARED = {distribution(requirement) for requirement in PROJECT["dependencies"]}


def test_every_package_that_is_imported_is_declared():
    undeclared = {
        package: path
        for package, path in imported(ROOT / "src" / "changedet").items()
        if not providers(package) & (DECLARED | EXTRAS)
    }
    assert undeclared == {}


def test_every_package_that_is_declared_is_imported():
    used = {name for package in imported(ROOT / "src" / "changedet") for name in providers(package)}
    assert DECLARED - used == set()


def test_every_dependency_has_a_lower_bound():
    assert [one for one in PROJECT["dependencies"] if ">=" not in one] == []
