"""The tests marked ``cuda``, in a separate process; only files that contain one are read."""

import subprocess
import sys
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

from gpu.commands import CommandError, tail
from gpu.job import Job

_ROOT = Path(__file__).parents[2]
_NO_TESTS = 5


def main(job: Job) -> None:
    """Run them and note each one's outcome."""
    files = [path for path in sorted((_ROOT / "tests").rglob("test_*.py")) if _has_mark(path)]
    if not files:
        # Without a file pytest would take all of them.
        raise CommandError("no test is marked cuda")
    report, log = job.folder / "junit.xml", job.folder / "pytest.log"
    report.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider"]
    # Warnings of newer libraries must not fail a test there.
    command += ["-W", "default", "-rA", "--durations=5", f"--junitxml={report}"]
    with log.open("ab") as file:
        ended = subprocess.run(
            [*command, *(str(path.relative_to(_ROOT)) for path in files)],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=max(1.0, job.left_s),
        )
    outcomes = _outcomes(report) if report.is_file() else {}
    count = {kind: list(outcomes.values()).count(kind) for kind in set(outcomes.values())}
    results: dict[str, Any] = {"status": ended.returncode, "count": count, "tests": outcomes}
    job.save(results)
    if ended.returncode not in (0, _NO_TESTS):
        raise CommandError(f"pytest ended with {ended.returncode}: {tail(log)}")


def _has_mark(path: Path) -> bool:
    return "mark.cuda" in path.read_text(encoding="utf-8")


def _outcomes(report: Path) -> dict[str, str]:
    outcomes = {}
    for case in Xml.parse(report).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        noted = [f"{found.get('name')}: {found.get('value')}" for found in case.iter("property")]
        outcome = ", ".join([kinds[0] if kinds else "passed", *noted])
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return outcomes
