"""A Ray cluster that is not there is told at once; the rest needs one (tests/integration)."""

import socket
from pathlib import Path

import pytest

from archives import MODEL, common
from changedet.batch import ray_engine
from changedet.batch.request import BatchRequest
from changedet.batch.runner import Setup
from changedet.errors import ConfigError

ray = pytest.importorskip("ray")


def test_an_address_at_which_nobody_listens_is_refused_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"no Ray cluster at `address={address}`"):
            ray_engine._check_reachable(address)


def test_a_cluster_that_was_killed_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    current = tmp_path / "ray_current_cluster"
    monkeypatch.setattr(ray_engine, "_CURRENT", current)
    # Ray itself says that there is none.
    ray_engine._check_reachable("auto")
    current.write_text("127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1: .*start one with ray start"):
        ray_engine._check_reachable("auto")
    monkeypatch.setenv("RAY_ADDRESS", "localhost:1")
    with pytest.raises(ConfigError, match="localhost:1"):
        ray_engine._check_reachable("auto")
    with pytest.raises(ConfigError, match="no Ray cluster at `address=ray://127"):
        ray_engine._check_reachable("ray://127.0.0.1:1")


def test_one_that_listens_is_let_through() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        ray_engine._check_reachable(address)
        ray_engine._check_reachable(f"ray://{address}")
    ray_engine._check_reachable(None)


@pytest.mark.parametrize(
    ("address", "asked", "told"),
    [
        (None, "local", r"Ray does not start \(none\)"),
        ("10.0.0.1:6379", "10.0.0.1:6379", r"no Ray cluster at `address=10\.0\.0\.1:6379`"),
    ],
)
def test_without_an_address_a_new_cluster_is_started_whatever_others_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None, asked: str, told: str
) -> None:
    given = {}

    def init(**settings: object) -> None:
        given.update(settings)
        raise ConnectionError("none")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray_engine, "_check_reachable", lambda address: None)
    request = BatchRequest(common(), str(tmp_path), engine="ray", address=address)
    with pytest.raises(ConfigError, match=told):
        ray_engine.RayEngine(Setup(common(), MODEL, str(tmp_path)), request)
    assert given["address"] == asked
