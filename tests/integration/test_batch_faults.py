"""Archives of scenes while workers, machines, disks, inputs and the driver fail.

Whatever fails, what comes out is what ``changedet predict`` makes of each scene alone.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from archives import MODEL, BatchItem, same_maps, write_archive
from changedet.predict.rasters import predict_scene

pytestmark = [pytest.mark.slow]
ROOT = Path(__file__).parents[2]
SCENES = 10
DEADLINE_S = 300


class Batch:
    """``changedet batch`` as a process of its own.

    Attributes:
        out: Folder of the results.
    """

    def __init__(self, folder: Path, items: Sequence[BatchItem], *words: object) -> None:
        folder.mkdir(exist_ok=True)
        self.out = folder / "out"
        self._table = folder / "pairs.csv"
        rows = [f"{item.id},{item.before},{item.after}" for item in items]
        self._table.write_text("\n".join(["id,before,after", *rows]) + "\n")
        self._words = words
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Batch":
        command = [sys.executable, "-m", "changedet", "batch", self._table, "--model", MODEL]
        words = [*command, "--out", self.out, "--back-off", 0.5, *self._words]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in words], stdout=log, stderr=log, env=environment()
            )
        return self

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> int:
        """Wait for the end and give the exit code."""
        try:
            return self._process.wait(DEADLINE_S)
        finally:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for(self, done: int) -> list[str]:
        """Wait until so many items are complete; give their ids."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            folder = self.out / "items"
            ids = [path.name for path in folder.iterdir()] if folder.exists() else []
            if len(ids) >= done:
                return ids
            assert self._process.poll() is None, self.said
            time.sleep(0.05)
        raise TimeoutError(self.said)

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in pq.read_table(self.out / "manifest.parquet").to_pylist()}


def environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[BatchItem]:
    return write_archive(tmp_path_factory.mktemp("archive"), SCENES, size=(300, 340))


@pytest.fixture(scope="module")
def alone(items: list[BatchItem], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``changedet predict`` makes of each scene by itself, on this machine."""
    folder = tmp_path_factory.mktemp("alone")
    for item in items:
        predict_scene(item.before, item.after, model=MODEL, out=folder / item.id, device="cpu")
    return folder


def assert_same(out: Path, alone: Path, items: Sequence[BatchItem]) -> None:
    for item in items:
        assert same_maps(out / "items" / item.id, alone / item.id), item.id


def workers_of(process: int) -> list[int]:
    """Processes that a driver has started as workers."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    # Another one keeps account of shared memory.
    return [
        int(child)
        for child in children
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    ]


@pytest.mark.skipif(not Path("/proc").exists(), reason="workers are found in /proc")
def test_killed_workers_damaged_and_hanging_inputs_and_a_killed_driver(
    items: list[BatchItem], alone: Path, tmp_path: Path
) -> None:
    damaged, fifo = tmp_path / "damaged.tif", tmp_path / "fifo.tif"
    damaged.write_bytes(Path(items[0].after).read_bytes()[:5_000])
    os.mkfifo(fifo)
    bad = [
        replace(items[0], id="damaged", after=str(damaged)),
        replace(items[1], id="hanging", before=str(fifo)),
    ]
    # The damaged one first, the hanging one in the middle.
    order = [bad[0], *items[:3], bad[1], *items[3:]]
    batch = Batch(
        tmp_path / "run", order, "--workers", 2, "--threads", 1, "--timeout", 4, "--attempts", 2
    )
    batch.start().wait_for(2)
    os.kill(workers_of(batch.pid)[0], signal.SIGKILL)
    before = batch.wait_for(4)
    batch.kill()
    made = {name: (batch.out / "items" / name / "score.tif").stat().st_mtime_ns for name in before}
    assert batch.start().wait() == 1, batch.said
    assert_same(batch.out, alone, items)
    assert {path.name for path in (batch.out / "items").iterdir()} == {item.id for item in items}
    for name, time_ns in made.items():
        assert (batch.out / "items" / name / "score.tif").stat().st_mtime_ns == time_ns
    rows = batch.rows
    assert {row["state"] for name, row in rows.items() if name not in ("damaged", "hanging")} == {
        "done"
    }
    assert (rows["damaged"]["state"], rows["damaged"]["attempts"]) == ("failed", 1)
    assert rows["damaged"]["error_type"] == "ImageError"
    assert (rows["hanging"]["state"], rows["hanging"]["attempts"]) == ("failed", 2)
    assert rows["hanging"]["error_type"] == "Timeout"
    assert "2 failed" in batch.said


# Ray, from here on.


class Cluster:
    """A head without workers, and machines that are node processes here."""

    def __init__(self) -> None:
        ray_cluster = pytest.importorskip("ray.cluster_utils")
        # A busy machine takes long to start what watches a node.
        os.environ["RAY_agent_register_timeout_ms"] = "300000"  # noqa: SIM112
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["RAY_metrics_report_interval_ms"] = "1000"  # noqa: SIM112
        self._cluster = ray_cluster.Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False},
        )
        self.address = self._cluster.address

    def add(self, cpus: int = 1) -> Any:
        return self._cluster.add_node(num_cpus=cpus)

    def kill(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def shutdown(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = Cluster()
    yield found
    found.shutdown()


def actors() -> list[int]:
    """Processes of workers of a Ray cluster on this machine."""
    psutil = pytest.importorskip("psutil")
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if line.startswith("ray::RayWorker"):
            found.append(process.pid)
    return found


def on_ray(cluster: Cluster) -> tuple[object, ...]:
    return ("--engine", "ray", "--address", cluster.address)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_loses_an_actor_and_a_machine_and_the_driver(
    items: list[BatchItem], alone: Path, tmp_path: Path, cluster: Cluster
) -> None:
    cluster.add()
    second = cluster.add()
    batch = Batch(tmp_path / "run", items, *on_ray(cluster), "--workers", 2)
    batch.start().wait_for(1)
    os.kill(actors()[0], signal.SIGKILL)
    batch.wait_for(3)
    cluster.kill(second)
    batch.wait_for(5)
    batch.kill()
    assert batch.start().wait() == 0, batch.said
    assert_same(batch.out, alone, items)
    rows = batch.rows
    assert {row["state"] for row in rows.values()} == {"done"}
    assert " on " in rows[items[-1].id]["worker"]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_up_damaged_and_hanging_inputs(
    items: list[BatchItem], alone: Path, tmp_path: Path, cluster: Cluster
) -> None:
    cluster.add(2)
    damaged, fifo = tmp_path / "damaged.tif", tmp_path / "fifo.tif"
    damaged.write_bytes(Path(items[0].after).read_bytes()[:5_000])
    os.mkfifo(fifo)
    bad = [
        replace(items[1], id="hanging", before=str(fifo)),
        replace(items[0], id="damaged", after=str(damaged)),
    ]
    words = (*on_ray(cluster), "--timeout", 5, "--attempts", 2)
    batch = Batch(tmp_path / "run", [*bad, *items[:4]], *words)
    assert batch.start().wait() == 1, batch.said
    assert_same(batch.out, alone, items[:4])
    rows = batch.rows
    assert (rows["hanging"]["error_type"], rows["hanging"]["attempts"]) == ("Timeout", 2)
    assert (rows["damaged"]["error_type"], rows["damaged"]["attempts"]) == ("ImageError", 1)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_a_machine_whose_disk_is_full_leaves_the_work_to_the_others(
    items: list[BatchItem], alone: Path, tmp_path: Path, cluster: Cluster
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    cluster.add()
    with _small_disk(cluster, scratch):
        out = tmp_path / "run" / "out"
        batch = Batch(tmp_path / "run", items, *on_ray(cluster), "--scratch", scratch)
        # An address, though of this disk: results are made in the scratch folder.
        batch._words = (*batch._words, "--workers", 2, "--out", f"local://{out}")
        assert batch.start().wait() == 0, batch.said
    assert_same(out, alone, items)
    rows = batch.rows
    assert {row["state"] for row in rows.values()} == {"done"}
    assert max(row["attempts"] for row in rows.values()) > 1


@contextlib.contextmanager
def _small_disk(cluster: Cluster, scratch: Path) -> Iterator[None]:
    """Add a machine for which the scratch folder is a disk of 400 kB."""
    ray = Path(sys.executable).with_name("ray")
    start = f"{ray} start --address={cluster.address} --num-cpus=1 --disable-usage-stats --block"
    command = f"mount -t tmpfs -o size=400k tmpfs {scratch} && exec {start}"
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    try:
        wait_for_nodes(cluster, 3, process)
        yield
    finally:
        process.terminate()
        process.wait(60)


def wait_for_nodes(cluster: Cluster, count: int, process: subprocess.Popen[bytes]) -> None:
    import ray

    ray.init(address=cluster.address, log_to_driver=False)
    try:
        end = time.monotonic() + 120
        while sum(node["Alive"] for node in ray.nodes()) < count:
            if process.poll() is not None:
                pytest.skip(f"no mounts here: {process.stderr.read().decode()[:200]}")
            assert time.monotonic() < end
            time.sleep(0.5)
    finally:
        ray.shutdown()


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_prometheus_gets_the_counts_of_the_workers_from_ray(
    items: list[BatchItem], tmp_path: Path, cluster: Cluster
) -> None:
    node = cluster.add()
    address = f"http://{node.node_ip_address}:{node.metrics_export_port}/metrics"
    batch = Batch(tmp_path / "run", items, *on_ray(cluster)).start()
    found = ""
    end = time.monotonic() + DEADLINE_S
    while "changedet_items" not in found and batch.is_running and time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            found = answer.read().decode()
        time.sleep(0.5)
    assert batch.wait() == 0, batch.said
    assert "ray_changedet_items" in found
    assert 'state="done"' in found
    assert "ray_changedet_megapixels" in found
    assert "ray_changedet_item_seconds_bucket" in found


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        ("no cluster", "there is no Ray cluster at"),
        ("no room", "has room for a worker of 64 CPUs"),
        ("no package", "has no changedet"),
        ("other version", "and this machine"),
    ],
)
def test_what_is_wrong_with_a_cluster_is_told_in_one_line(
    items: list[BatchItem],
    tmp_path: Path,
    prepare: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    words: tuple[object, ...] = ("--engine", "ray", "--address", "127.0.0.1:1")
    if prepare != "no cluster":
        cluster = request.getfixturevalue("cluster")
        words = on_ray(cluster)
        hiding = tmp_path / "hiding"
        hiding.mkdir()
        code = {
            "no package": "import sys\nsys.modules['changedet'] = None\n",
            "other version": "import changedet._version as v\nv.__version__ = '0.0.1'\n",
        }.get(prepare, "")
        (hiding / "sitecustomize.py").write_text(code)
        paths = os.pathsep.join([str(hiding), environment()["PYTHONPATH"]])
        monkeypatch.setenv("PYTHONPATH", paths)
        cluster.add()
    if prepare == "no room":
        words = (*words, "--num-cpus", 64)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    batch = Batch(tmp_path / "run", items[:1], *words).start()
    assert batch.wait() == 2, batch.said
    [line] = [line for line in batch.said.splitlines() if line.startswith("changedet:")]
    assert says in line
    assert "Traceback" not in batch.said
