"""``python -m gpu --budget 9 --parts large,rows --data CLCD --out OUT``."""

import argparse
import shutil
import sys
from pathlib import Path

from gpu.plan import Plan, run_plan
from gpu.schedule import PARTS, part_named

#: Checkpoints of 400 MB are written there all the time; memory is the fastest place for them.
_FAST = Path("/dev/shm")
_ROOM_BYTES = 16 * 2**30


def main() -> int:
    """Read the options and run the plan."""
    parser = argparse.ArgumentParser(prog="python -m gpu", description=__doc__)
    names = ",".join(part.name for part in PARTS if part.is_usual)
    parser.add_argument("--budget", type=float, required=True, help="minutes for everything")
    parser.add_argument("--parts", default=names, help=f"in order of worth; default: {names}")
    parser.add_argument("--data", type=Path, required=True, help="folder of CLCD")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is fetched")
    parser.add_argument("--work", type=Path, help="folder for everything else")
    parser.add_argument("--weights", type=Path, help="ImageNet weights of a ResNet-50")
    parser.add_argument("--material", type=Path, help="folder of first weights, for cropland")
    parser.add_argument("--teachers", default="", help="model files that teach cropland's students")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commit", default="unknown", help="commit of the code, for the record")
    parser.add_argument("--rehearsal", action="store_true", help="tiny networks, a tenth of time")
    options = parser.parse_args()
    parts = tuple(options.parts.split(","))
    try:
        for name in parts:
            part_named(name)
    except ValueError as error:
        parser.error(str(error))
    return run_plan(
        Plan(
            budget_s=60.0 * options.budget,
            parts=parts,
            data=options.data,
            out=options.out,
            work=options.work or _default_work(options.out),
            weights=options.weights,
            material=options.material,
            teachers=tuple(Path(name) for name in options.teachers.split(",") if name),
            device=options.device,
            seed=options.seed,
            commit=options.commit,
            is_rehearsal=options.rehearsal,
        )
    )


def _default_work(out: Path) -> Path:
    """A folder in memory if there is room, otherwise next to the results."""
    if _FAST.is_dir() and shutil.disk_usage(_FAST).free >= _ROOM_BYTES:
        return _FAST / "changedet_gpu"
    return out.resolve().with_name(f"{out.name}_work")


if __name__ == "__main__":
    sys.exit(main())
