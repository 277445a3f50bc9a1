"""Python in a process of its own in which some packages seem not to be installed."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: Packages that every extra for PyTorch or training installs.
OF_TRAINING = ("torch", "torchvision", "timm", "huggingface_hub", "matplotlib", "tensorboard")
#: Runs command lines in one process; prints their exit codes and what they said, as JSON.
_PROGRAM = """
import contextlib, io, json, sys
from changedet.cli.main import main

ended = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["changedet", *words]
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    ended.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(ended))
"""


def hide(packages: Sequence[str], folder: Path) -> None:
    """Hide packages from all Pythons that :func:`run_python` starts in a folder."""
    # Python imports this module at its start, in child processes, too.
    hiding = f"import sys\nsys.modules.update(dict.fromkeys({tuple(packages)!r}))\n"
    (folder / "sitecustomize.py").write_text(hiding)


def run_python(
    folder: Path, *arguments: str, models: Path, **options: object
) -> subprocess.CompletedProcess:
    """Run a program, ``python -c ARGUMENTS``, in a folder with hidden packages.

    Args:
        folder: As prepared by :func:`hide`.
        arguments: The program and its arguments.
        models: Folder of the models that have a name.
        options: For :func:`subprocess.run`.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "CHANGEDET_MODELS": str(models),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        **options,
    )


def run_lines(
    folder: Path, lines: Sequence[str], *, models: Path
) -> dict[str, tuple[int, str, str]]:
    """Run lines of ``changedet``; give the exit code, output and messages of each."""
    words = json.dumps([line.split() for line in lines])
    done = run_python(folder, _PROGRAM, models=models, input=words)
    return dict(zip(lines, json.loads(done.stdout), strict=True))
