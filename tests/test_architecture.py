"""Imports may only point to a lower layer (a package's own files are free)."""

import ast
from pathlib import Path

LAYERS = [
    {"errors", "types", "_optional", "_atomic", "_result_folder", "_version", "_yaml"},
    {"nn", "raster"},
    {"vector"},
    {"models", "losses", "metrics", "data"},
    {"inference"},
    {"floors"},
    {"engine", "scene"},
    {"experiment"},
    {"cli"},
    {"__init__", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Row 1 may use the errors; everything else there stands alone.
FREE = {"errors", "_version"}
ROOT = Path(__file__).parents[1] / "src" / "changedet"

# Heavy or optional packages and the only places that may import them.
ONLY_IN = {
    "timm": {"nn/encoder.py", "models/weights.py", "engine/averaging.py"},
    "typer": {"cli/"},
    "rich": {"cli/"},
    "matplotlib": {"experiment/"},
    "pydantic": {"experiment/"},
    "rasterio": {"raster/"},
    "pyogrio": {"vector/"},
    "shapely": {"vector/", "scene/"},
    "pystac": {"scene/"},
    "skimage": {"raster/", "floors/", "data/histogram_matching.py"},
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
