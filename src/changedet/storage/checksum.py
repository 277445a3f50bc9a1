"""Tell one content of a file from another."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Give the SHA-256 of a file in hexadecimal, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
