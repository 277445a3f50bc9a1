"""``make fuzz``: all readers in turn on damaged inputs; goes on where it ended."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from fuzz.engine import Reader, Tally, kinds_of, run, try_input
from fuzz.readers import READERS

_ROUND = 500


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="time for all readers together"
    )
    parser.add_argument(
        "--count", type=int, default=None, help="inputs of each reader; default: no limit"
    )
    parser.add_argument("--readers", default="", help="names, separated by commas; default: all")
    parser.add_argument(
        "--state", type=Path, default=Path("build/fuzz"), help="counts and findings"
    )
    parser.add_argument("--fresh", action="store_true", help="start again from seed 0")
    parser.add_argument(
        "--seed", type=int, help="only this input of the one reader, as a traceback"
    )
    return parser.parse_args()


def _chosen(names: str) -> list[Reader]:
    wanted = [name for name in names.split(",") if name]
    unknown = set(wanted) - {reader.name for reader in READERS}
    if unknown:
        sys.exit(f"no such reader: {', '.join(sorted(unknown))}")
    return [reader for reader in READERS if not wanted or reader.name in wanted]


def main() -> int:
    """Run; 1 if there was a finding."""
    options = _arguments()
    readers = _chosen(options.readers)
    options.state.mkdir(parents=True, exist_ok=True)
    record = options.state / "counts.json"
    known = json.loads(record.read_text()) if record.is_file() and not options.fresh else {}
    tallies = {reader.name: Tally(**known.get(reader.name, {})) for reader in READERS}
    with tempfile.TemporaryDirectory(prefix="fuzz_valid") as name:
        for reader in readers:
            reader.prepare(Path(name) / reader.name)
        if options.seed is not None:
            (reader,) = readers
            print(try_input(reader, options.seed, Path(name) / "input"))
            return 0
        faults = []
        until = time.monotonic() + options.seconds
        wanted = {r.name: tallies[r.name].next_seed + (options.count or 10**12) for r in readers}
        while time.monotonic() < until:
            left = [r for r in readers if tallies[r.name].next_seed < wanted[r.name]]
            if not left:
                break
            for reader in left:
                tally = tallies[reader.name]
                count = min(_ROUND, wanted[reader.name] - tally.next_seed)
                faults += run(reader, tally, count=count, until=until, failures=options.state)
                text = json.dumps({key: asdict(value) for key, value in tallies.items()}, indent=1)
                record.write_text(text + "\n")
    for reader_name, tally in tallies.items():
        total = tally.read + tally.refused + tally.faults
        print(
            f"{reader_name:<14}{total:>9} inputs {tally.read:>9} read {tally.refused:>9} refused "
            f"{tally.faults:>6} faults"
        )
    total = sum(tally.read + tally.refused + tally.faults for tally in tallies.values())
    print(f"{total} inputs in all")
    for kind, seeds in kinds_of(faults).items():
        print(f"FAULT {kind} ({len(seeds)} times, seeds {', '.join(map(str, seeds[:5]))})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
