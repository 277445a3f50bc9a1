"""The notebook runs from top to bottom and says what its stored outputs say."""

import base64
import io
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


def printed(notebook: Any) -> list[str]:
    """What the cells give and print, without what libraries write to stderr."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.get("text") for output in outputs if output.get("name") == "stdout"]
    return [*texts, *(output["data"]["text/plain"] for output in outputs if "data" in output)]


def pictures(notebook: Any) -> list[np.ndarray]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    found = [output.get("data", {}).get("image/png") for output in outputs]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found if data]


def test_the_notebook_runs_and_gives_what_it_shows():
    stored = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    fresh = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    before = sorted(EXAMPLES.rglob("*"))
    resources = {"metadata": {"path": str(EXAMPLES)}}
    NotebookClient(fresh, timeout=300, kernel_name="python3", resources=resources).execute()
    assert printed(fresh) == printed(stored)
    for shown, again in zip(pictures(stored), pictures(fresh), strict=True):
        assert shown.shape == again.shape
        assert np.abs(shown.astype(float) - again).mean() < 3
    assert sorted(EXAMPLES.rglob("*")) == before
    assert len(pictures(stored)) == 2
