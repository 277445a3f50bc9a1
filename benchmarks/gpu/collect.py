"""Write results while the plan runs: few files, none too large, each complete at any time.

One file with all figures, one with tables, all logs in one archive, and the model in pieces
(``cat NAME.0? > NAME`` joins them).
"""

import contextlib
import io
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu.job import read_json, results_path, write_json
from gpu.report import to_markdown
from gpu.schedule import PARTS

#: Bytes of a piece: a MiB less than the 16 that a file may have.
PIECE_BYTES = 15 * 2**20
#: Files of a run that are neither records nor small.
_NOT_LOGS = (".safetensors", ".part", ".png", ".jpg", ".tar", ".tar.gz")
_LARGEST_LOG = 2 * 2**20


def collect(work: Path, out: Path, facts: Mapping[str, Any]) -> None:
    """Write ``results.json``, ``results.md`` and ``logs.tar.gz``, and new pieces of models.

    Args:
        work: Folder in which the parts work.
        out: Folder from which results are fetched.
        facts: What is known of the plan itself.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = gather(work, facts)
    write_json(work / "results.json", results)
    _replace(work / "results.json", out / "results.json")
    (work / "results.md").write_text(_tables(results), encoding="utf-8")
    _replace(work / "results.md", out / "results.md")
    _ship(work, out)
    _pack_logs(work)
    _replace(work / "logs.tar.gz", out / "logs.tar.gz")


def gather(work: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Put the results of all parts together."""
    parts = {part.name: read_json(results_path(work, part.name)) for part in PARTS}
    return {**facts, **{name: found for name, found in parts.items() if found is not None}}


def _tables(results: Mapping[str, Any]) -> str:
    """Render the tables; a part that left something unexpected must not end the plan."""
    try:
        return to_markdown(results)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        return f"The tables cannot be written ({error!r}); the figures are in results.json.\n"


def _pack_logs(work: Path) -> None:
    with tarfile.open(work / "logs.tar.gz", "w:gz") as tar:
        for path in sorted(work.rglob("*")):
            if path.name.endswith(_NOT_LOGS) or "tensorboard" in path.parts:
                continue
            # Parts are at work meanwhile: files grow and go.
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_size <= _LARGEST_LOG:
                    content = path.read_bytes()
                    entry = tarfile.TarInfo(str(path.relative_to(work)))
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))


def _ship(work: Path, out: Path) -> None:
    """Cut the models that parts name in ``ship.json`` into pieces."""
    wanted = {
        name: path.parent / name
        for path in sorted(work.glob("*/ship.json"))
        for name in read_json(path)
    }
    stamp = work / "shipped.json"
    state = {name: path.stat().st_mtime for name, path in wanted.items() if path.is_file()}
    if read_json(stamp) == state and all((out / f"{name}.00").is_file() for name in state):
        return
    for old in out.glob("*.[0-9][0-9]"):
        old.unlink()
    for name in state:
        content = wanted[name].read_bytes()
        for number, start in enumerate(range(0, len(content), PIECE_BYTES)):
            piece = out / f"{name}.{number:02d}"
            piece.write_bytes(content[start : start + PIECE_BYTES])
    write_json(stamp, state)


def _replace(source: Path, target: Path) -> None:
    """Copy under another name first, so that a kill never leaves half a file."""
    partial = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, partial)
    partial.replace(target)
