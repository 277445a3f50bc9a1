"""Imports point to a lower layer; inside a room they never run in a circle."""

import ast
from pathlib import Path

LAYERS = [
    {"errors", "types", "palette", "storage", "choices", "_optional", "_version", "threads"},
    {"selection", "domain"},
    {"kinds"},
    {"card"},
    {"nn", "raster"},
    {"vector"},
    {"models", "losses", "metrics", "data"},
    {"rendering", "baselines", "synthetic"},
    {"model_search"},
    {"inference"},
    {"training", "evaluation", "predict", "export"},
    {"ablation", "speed", "view", "batch"},
    # Knows the models of all rooms by name; imports them when a file of theirs is read.
    {"results"},
    # Training and evaluation in one call each, for people who write Python.
    {"functions"},
    {"report"},
    {"demo"},
    {"cli"},
    {"__init__", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Row 1 may use these; everything else there stands alone.
FREE = {"errors", "types", "choices", "_version"}
ROOT = Path(__file__).parents[1] / "src" / "changedet"

# Heavy or optional packages and the only places that may import them.
ONLY_IN = {
    "timm": {"nn/timm_library.py", "training/averaging.py"},
    "typer": {"cli/"},
    "rich": {"cli/"},
    "jinja2": {"rendering/"},
    "matplotlib": {"rendering/"},
    "pydantic": {
        *("card/", "storage/", "data/rasters/", "data/mixture_file.py"),
        "models/file_options.py",
        *("training/", "evaluation/", "predict/", "ablation/", "view/bodies.py", "batch/"),
    },
    "fastapi": {"view/"},
    "starlette": {"view/"},
    "uvicorn": {"view/server.py"},
    "pydantic_core": {"storage/", "training/"},
    "rasterio": {"raster/"},
    "rio_tiler": {"raster/shown.py"},
    "pyogrio": {"vector/"},
    "shapely": {"raster/", "vector/", "predict/", "view/"},
    "pystac": {"predict/", "batch/"},
    "skimage": {"raster/", "baselines/", "data/training/histogram_matching.py"},
}


def absolute_imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: use absolute imports"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def violations(root: Path) -> list[str]:
    bad = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root).as_posix()
        unit = relative.split("/")[0].removesuffix(".py")
        for name in sorted(absolute_imports(path)):
            package, _, rest = name.partition(".")
            if package == root.name:
                other = rest.split(".")[0]
                is_free = other == unit or other in FREE
                if other in RANK and not is_free and RANK[other] >= RANK[unit]:
                    bad.append(f"{relative} -> {other}")
            elif not any(relative.startswith(place) for place in ONLY_IN.get(package, {""})):
                bad.append(f"{relative} -> {package}")
    return bad


def modules(root: Path) -> dict[str, Path]:
    """Files by the dotted name under which they are imported, a package under its folder's."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def cycles(root: Path) -> list[list[str]]:
    """Circles of files that import one another, imports for types and inside functions included."""
    files = modules(root)
    # "package.module.name" is an import of package.module where that is a file.
    imports = {
        module: sorted(
            {
                name if name in files else name.rpartition(".")[0]
                for name in absolute_imports(path)
                if name in files or name.rpartition(".")[0] in files
            }
            - {module}
        )
        for module, path in files.items()
    }
    found: dict[frozenset[str], list[str]] = {}
    finished: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            circle = trail[trail.index(module) :]
            found.setdefault(frozenset(circle), circle)
        elif module not in finished:
            for other in imports[module]:
                visit(other, [*trail, module])
            finished.add(module)

    for module in imports:
        visit(module, [])
    return list(found.values())


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_imports_point_downwards() -> None:
    assert violations(ROOT) == []


def test_every_unit_has_a_layer() -> None:
    units = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.name[0] != "."}
    assert units - {"__pycache__", "py.typed", "recipes"} <= set(RANK)


def test_planted_violations_are_found(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "changedet",
        {
            "nn/layer.py": "from changedet.models.base import Model\nimport torch\n",
            "models/base.py": "import changedet.nn.layer\nimport typer\n",
            "metrics/curve.py": "from changedet.data import index\n",
            "cli/main.py": "import typer\nfrom changedet.training import trainer\n",
        },
    )
    assert violations(root) == [
        "metrics/curve.py -> data",
        "models/base.py -> typer",
        "nn/layer.py -> models",
    ]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert cycles(ROOT) == []


def test_planted_circles_are_found(tmp_path: Path) -> None:
    root = plant(
        tmp_path / "changedet",
        {
            "data/pair.py": "from changedet.data.labels import read\n",
            "data/labels.py": (
                "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from changedet.data.pair import Pair\n"
            ),
            "data/index.py": "def survey():\n    from changedet.data import scenes\n",
            "data/scenes.py": "import changedet.data.index\n",
            "data/lists.py": "from changedet.data.pair import Pair\n",
        },
    )
    assert cycles(root) == [
        ["changedet.data.index", "changedet.data.scenes"],
        ["changedet.data.labels", "changedet.data.pair"],
    ]
