"""Results of an archive on an object store, tested against moto's server."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from archives import MODEL, InlineEngine, Items, common, same_maps, write_archive
from changedet.batch import local_engine
from changedet.batch.manifest import Manifest
from changedet.batch.place import open_place
from changedet.batch.request import BatchRequest
from changedet.batch.run import read_status, run_batch
from changedet.batch.runner import ItemRunner, Setup
from changedet.errors import ConfigError, StorageError
from changedet.predict.rasters import predict_scene

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("few_shift_tiles"),
    # botocore and moto are not ours.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    running = moto.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    # Connections that only the garbage collector closes would be warned of in some later test.
    import s3fs

    for files in list(s3fs.S3FileSystem._cache.values()):
        s3fs.S3FileSystem.close_session(files.loop, files._s3)
    s3fs.S3FileSystem.clear_instance_cache()
    gc.collect()
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TMPDIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", None)
    name = f"results-{abs(hash(tmp_path)) % 10**8}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture(autouse=True)
def _inline_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine(InlineEngine):
        def __init__(self, setup: Setup, *, workers: int) -> None:
            super().__init__(ItemRunner(setup).run, workers=1)

    monkeypatch.setattr(local_engine, "LocalEngine", Engine)


def fetch(uri: str, folder: str, target: Path) -> Path:
    place = open_place(uri)
    target.mkdir()
    for name in place.sizes(folder):
        place.get(f"{folder}/{name}", target / name)
    return target


def test_an_archive_goes_to_a_bucket_and_only_what_is_missing_is_done_again(
    bucket: str, tmp_path: Path
) -> None:
    import boto3

    items = write_archive(tmp_path / "in", 2)
    out = f"s3://{bucket}/some/archive"
    request = BatchRequest(common(), out)
    assert run_batch(request, Items(items)).done == 2
    alone = tmp_path / "alone"
    predict_scene(items[0].before, items[0].after, model=MODEL, out=alone, device="cpu")
    assert same_maps(fetch(out, "items/tile_0", tmp_path / "fetched"), alone)
    place = open_place(out)
    place.get("manifest.parquet", tmp_path / "manifest.parquet")
    table = pq.read_table(tmp_path / "manifest.parquet")
    assert table["state"].to_pylist() == ["done", "done"]
    assert read_status(place).state == "finished"
    assert place.sizes("manifest") == {}
    assert run_batch(request, Items(items)).unchanged == 2
    # Gone behind the back of the manifest.
    boto3.client("s3").delete_object(Bucket=bucket, Key="some/archive/items/tile_1/score.tif")
    tally = run_batch(request, Items(items))
    assert (tally.done, tally.unchanged) == (1, 1)
    with pytest.raises(ConfigError, match="results of another model, baseline:cva"):
        run_batch(BatchRequest(common("baseline:difference"), out), Items(items))


def test_an_upload_that_ends_in_the_middle_is_no_result(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from changedet.batch.place import RemotePlace

    items = write_archive(tmp_path / "in", 1)
    request = BatchRequest(common(), f"s3://{bucket}/cut", attempts=1)
    put = RemotePlace.put

    def failing(self: RemotePlace, source: Path, name: str) -> None:
        if name.endswith("score.tif"):
            raise StorageError("connection lost")
        put(self, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(RemotePlace, "put", failing)
        tally = run_batch(request, Items(items))
    assert tally.failed == 1
    place = open_place(request.out)
    assert "record.json" not in place.sizes("items/tile_0")
    with Manifest(place, mode="read") as manifest:
        assert [row["error"] for row in manifest.rows()] == ["connection lost"]
    assert run_batch(request, Items(items)).done == 1
    assert "record.json" in place.sizes("items/tile_0")


def test_a_bucket_that_is_not_there_is_told_before_any_work(bucket: str, tmp_path: Path) -> None:
    items = write_archive(tmp_path / "in", 1)
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/x .*check the address"):
        run_batch(BatchRequest(common(), "s3://no-such-bucket/x"), Items(items))


def test_a_bucket_that_holds_other_things_is_refused(bucket: str, tmp_path: Path) -> None:
    open_place(f"s3://{bucket}/full").write("photo.jpg", b"x")
    with pytest.raises(ConfigError, match="contains other files"):
        run_batch(BatchRequest(common(), f"s3://{bucket}/full"), Items([]))


def test_an_input_on_a_server_that_changes_is_done_again(bucket: str, tmp_path: Path) -> None:
    from changedet.batch.identity import fingerprint

    place = open_place(f"s3://{bucket}/in")
    place.write("a.tif", b"1234")
    location = f"s3://{bucket}/in/a.tif"
    request = common()
    from dataclasses import replace

    request = replace(request, before=location, after=location)
    first = fingerprint(request, model="m")
    assert fingerprint(request, model="m") == first
    place.write("a.tif", b"5678")
    assert fingerprint(request, model="m") != first
