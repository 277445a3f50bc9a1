"""What a figure was computed with: versions, the commit of this package, the machine."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from changedet._version import __version__

_PACKAGES = ("torch", "timm", "numpy")
_PATIENCE_S = 10.0


def software_versions() -> dict[str, str | int | None]:
    """Collect version and commit of this package, versions of others, kind of machine and GPU."""
    return {
        "changedet": __version__,
        "commit": package_commit(Path(__file__).parent),
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in _PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def package_commit(folder: Path) -> str | None:
    """Find the git commit that holds the sources in a folder.

    Args:
        folder: A folder of the package. An installed copy inside of somebody else's repository is
            not tracked there, hence has no commit.

    Returns:
        The commit, ``-dirty`` behind it where tracked files were changed; None if there is none.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    # A report must not wait for the lock of another git.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
