"""The recipes that come with the package, as files."""

from importlib import resources


def list_recipes() -> list[str]:
    """Names of the recipes, sorted."""
    folder = resources.files("changedet") / "recipes"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def recipe_text(name: str) -> str:
    """Give the YAML of a recipe, one of :func:`list_recipes`."""
    recipe = resources.files("changedet") / "recipes" / f"{name}.yaml"
    return recipe.read_text(encoding="utf-8")
