"""One part as a program: ``python -m gpu.parts NAME JOB``; the plan starts it.

Each part is a separate process, so that a crash or lack of memory costs one part only.
"""

import importlib
import os
import signal
import sys
import threading
import time
import traceback

from gpu.commands import CommandError
from gpu.job import Job

_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Do a part.

    Args:
        arguments: Its name, and its job as JSON.

    Returns:
        Exit status; 130 after Ctrl-C.
    """
    name, text = arguments
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    try:
        importlib.import_module(f"gpu.{name}").main(Job.from_json(text))
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _follow(parent: int) -> None:
    """End with all that was started when the plan was killed and can end nothing any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
