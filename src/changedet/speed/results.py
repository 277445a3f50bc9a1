"""What ``speed.json`` of a measurement of speed holds."""

from typing import Literal

from changedet.storage.results import NumberOrNone, PlainJson, Record, Results
from changedet.types import TestTime


class StageSpeed(Record):
    """One stage of a scene.

    Attributes:
        name: ``read``, ``score``, ``blend``, ``write``, ``polygons``, ``preview``, or ``rest``:
            checks, the shift between the dates, the summary.
        cpu_s: CPU seconds, median of the repeats.
        mpx_per_cpu_s: Million pixels of the scene in a CPU second; null where it takes no time that
            can be measured.
    """

    name: str
    cpu_s: float
    mpx_per_cpu_s: NumberOrNone


class ScenePoint(Record):
    """A scene of one size, from two GeoTIFFs to finished results, medians of the repeats.

    Attributes:
        side_px: Height and width.
        seconds: Time that passed, start-up left out.
        mpx_per_s: Million pixels a second in that time.
        cpu_s: CPU seconds of all threads.
        cpu_s_of_repeats: The same of each repeat.
        peak_memory_mb: Largest resident memory while it ran, in 10^6 bytes; null if not known.
        stages: Where the CPU time went.
    """

    side_px: int
    seconds: float
    mpx_per_s: float
    cpu_s: float
    cpu_s_of_repeats: tuple[float, ...]
    peak_memory_mb: NumberOrNone
    stages: tuple[StageSpeed, ...]


class Rate(Record):
    """A network at work on pairs that lie in memory, median of the repeats.

    Attributes:
        batch: Pairs at once.
        side_px: Their height and width.
        pairs_per_s: Pairs a second.
        gflop_per_pair: 10^9 operations (2 x MAC), counted; null where they cannot be counted.
        gflop_per_s: The two multiplied.
        share_of_ceiling: That in the rate of a large product of matrices on this machine.
    """

    batch: int
    side_px: int
    pairs_per_s: float
    gflop_per_pair: NumberOrNone = None
    gflop_per_s: NumberOrNone = None
    share_of_ceiling: NumberOrNone = None


class StartUp(Record):
    """A new process until the model can score, least of the repeats.

    Attributes:
        seconds: Time that passed.
        cpu_s: CPU seconds; null where the system does not tell them.
    """

    seconds: float
    cpu_s: NumberOrNone


class SpeedResults(Results):
    """Speed of a model on this machine.

    Attributes:
        version: Version of changedet that wrote the file.
        model: What was measured.
        runtime: What computed the network.
        device: Where.
        processor: Name of the processor, as the system tells it.
        threads: Threads that a runtime may use.
        test_time: Views of a tile that were averaged.
        tile_px: Height and width of a tile.
        overlap_px: Pixels that neighbouring tiles share.
        repeats: How often everything was measured.
        start_up: A new process until the model can score.
        warp_mpx_per_cpu_s: Million pixels in a CPU second that resampling one date onto the grid of
            the other adds to reading.
        scenes: One entry for each size, the smallest first.
        ceiling_gflop_per_s: Rate of a large product of matrices in the same precision.
        ceiling_of: What computed that product.
        inference: The network alone.
        training: A training step of it; null where it cannot be trained here.
        notes: What was left out, and why.
        seconds: How long it all took.
    """

    kind: Literal["speed"] = "speed"
    version: str
    model: PlainJson
    runtime: str
    device: str
    processor: str
    threads: int
    test_time: TestTime
    tile_px: int
    overlap_px: int
    repeats: int
    start_up: StartUp
    warp_mpx_per_cpu_s: NumberOrNone
    scenes: tuple[ScenePoint, ...]
    ceiling_gflop_per_s: NumberOrNone
    ceiling_of: str
    inference: Rate
    training: Rate | None
    notes: tuple[str, ...]
    seconds: float
