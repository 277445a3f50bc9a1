"""Notice that a file has changed, without reading all of it."""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 1 << 16


class FileState(NamedTuple):
    """What tells one state of a file from another.

    Attributes:
        size_bytes: Its size.
        changed_ns: When it was last written, in nanoseconds since 1970.
        sample: Checksum of samples that cover files up to a megabyte.
    """

    size_bytes: int
    changed_ns: int
    sample: str


def file_state(path: Path) -> FileState | None:
    """Look at a file; None if it is not there or cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            last = max(0, size - _SAMPLE_BYTES)
            for number in range(_SAMPLES):
                file.seek(last * number // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
        # Last, so that what is written meanwhile is seen.
        status = path.stat()
    except OSError:
        return None
    return FileState(status.st_size, status.st_mtime_ns, digest.hexdigest())
