import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy

from changedet.errors import ConfigError, ImageError
from changedet.raster.environment import CACHE_BYTES, gdal_environment
from changedet.raster.geo_grid import Window
from changedet.raster.open import gdal_path, is_remote, open_raster, reading_error
from changedet.raster.pair import PairOptions, RasterPair
from changedet.raster.pixel_rules import PixelRules
from changedet.raster.remarks import remarks_on_reading
from changedet.storage.secrets import without_secrets

#: No sample of the values is looked at beforehand.
UNSEEN = PairOptions(rules=(PixelRules(), PixelRules()))


@pytest.fixture
def cog(write_raster: Callable[..., str], tmp_path: Path) -> str:
    """Give a Cloud-Optimized GeoTIFF of noise: nothing in it compresses."""
    noise = np.random.default_rng(0).integers(0, 255, (3, 1500, 1500), dtype=np.uint8)
    path = tmp_path / "cog.tif"
    copy(write_raster("b.tif", noise), path, driver="COG", blocksize=256)
    return str(path)


def test_a_window_of_a_cog_is_read_by_ranges_only(cog: str, serving: Callable[..., Any]):
    content = Path(cog).read_bytes()
    window = Window(300, 300, 200, 200)
    with serving(content) as (address, handler):
        with RasterPair(address, cog, UNSEEN) as pair:
            pixels = pair.read(window)
            np.testing.assert_array_equal(pixels.before, pixels.after)
            assert pair.before.size_bytes == len(content)
            assert pair.before.changed_at == '"version 1"'
        assert 0 < sum(handler.sent) < len(content) / 8
        assert handler.paths == {"/scene.tif"}


def test_threads_read_from_a_server_what_they_read_from_the_disk(
    cog: str, serving: Callable[..., Any]
):
    windows = [Window(top, 100, 64, 64) for top in range(0, 1400, 300)]
    got: dict[Window, Any] = {}
    with (
        serving(Path(cog).read_bytes()) as (address, _),
        RasterPair(cog, address, PairOptions()) as pair,
    ):
        threads = [
            threading.Thread(target=lambda w=window: got.update({w: pair.read(w)}))
            for window in windows
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(got) == set(windows)
    for pixels in got.values():
        np.testing.assert_array_equal(pixels.before, pixels.after)


def test_a_server_that_fails_later_is_named(cog: str, serving: Callable[..., Any]):
    with (
        serving(Path(cog).read_bytes()) as (address, handler),
        RasterPair(cog, address, UNSEEN) as pair,
    ):
        handler.is_broken = True
        with pytest.raises(ImageError, match=r"scene\.tif: pixels .*check the connection"):
            pair.read(Window(1200, 1200, 100, 100))


def test_an_address_that_does_not_exist_is_refused(cog: str, serving: Callable[..., Any]):
    with serving(Path(cog).read_bytes()) as (address, _):
        wrong = address.replace("scene", "other")
        with pytest.raises(ImageError, match=r"other\.tif: cannot be opened over the net.*404"):
            open_raster(wrong)


def test_a_server_that_cannot_be_reached_fails_soon(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/a.tif"
    start = time.monotonic()
    with pytest.raises(ImageError, match=r"cannot be opened over the network .*check the address"):
        open_raster(address)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    ("location", "expected", "remote"),
    [
        ("a.tif", "a.tif", False),
        ("C://odd.tif", "C://odd.tif", False),
        ("http://x.org/a.tif?b=c", "/vsicurl/http://x.org/a.tif?b=c", True),
        ("HTTPS://x.org/a.tif", "/vsicurl/HTTPS://x.org/a.tif", True),
        ("s3://bucket/a.tif", "/vsis3/bucket/a.tif", True),
        ("/vsis3/bucket/a.tif", "/vsis3/bucket/a.tif", True),
        ("/vsizip/a.zip/a.tif", "/vsizip/a.zip/a.tif", False),
        ("/vsizip//vsis3/b/a.zip", "/vsizip//vsis3/b/a.zip", True),
    ],
)
def test_addresses_become_names_that_gdal_knows(location: str, expected: str, *, remote: bool):
    assert gdal_path(location) == expected
    assert is_remote(location) == remote


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("a?b#c@d.tif", "a?b#c@d.tif"),
        ("/data/vsi?x/a.tif", "/data/vsi?x/a.tif"),
        ("https://x.org/a@b.tif", "https://x.org/a@b.tif"),
        ("HTTPS://me:pw@x.org:8080/my a.tif?sig=Q&x=http://y#z", "HTTPS://x.org:8080/my a.tif"),
        ("https://me:p@w@x.org/a.tif#Q", "https://x.org/a.tif"),
        ("/vsicurl/https://me:pw@x.org/a.tif?sig=Q", "/vsicurl/https://x.org/a.tif"),
        ("/vsizip//vsicurl/http://x.org/a.zip?sig=Q", "/vsizip//vsicurl/http://x.org/a.zip"),
        ("/vsizip/{/vsicurl?header.Auth=Q&url=http://x}/a.tif", "/vsizip/{/vsicurl"),
        ("az://container/a.tif?sig=Q", "az://container/a.tif"),
    ],
)
def test_secrets_are_left_out_of_addresses_and_nothing_of_paths(location: str, shown: str):
    assert without_secrets(location) == shown


def test_errors_of_gdal_that_repeat_an_address_tell_no_secrets():
    location = "https://me:pw@x.org/my a.tif?sig=Q"
    error = OSError(f"'{gdal_path(location)}' via http://u:pw@y.org/b?sig=Q, a.tif?sig=Q, band 1")
    message = str(reading_error(location, error))
    assert "('/vsicurl/https://x.org/my a.tif' via http://y.org/b, a.tif, band 1)" in message
    assert message.startswith("https://x.org/my a.tif: pixels cannot be read")
    assert "pw" not in message
    assert "sig" not in message


def test_no_message_about_a_signed_address_tells_its_secrets(
    cog: str, serving: Callable[..., Any], capfd: pytest.CaptureFixture[str]
):
    with serving(Path(cog).read_bytes()) as (address, handler):
        signed = address.replace("//", "//me:pw@") + "?sig=Q"
        messages = []
        with RasterPair(cog, signed, replace(UNSEEN, shift_px=(0.5, 0.0))) as pair:
            messages.extend(remark.text for remark in remarks_on_reading(pair.facts))
            handler.is_broken = True
            with pytest.raises(ImageError) as caught:
                pair.read(Window(1200, 1200, 100, 100))
        messages.append(str(caught.value))
        with pytest.raises(ConfigError) as refused:
            RasterPair(cog, signed, PairOptions(channels=2))
        messages.append(str(refused.value))
        with pytest.raises(ImageError) as missing:
            open_raster(signed.replace("scene", "other"))
        messages.append(str(missing.value))
    assert len(messages) == 4
    for message in [*messages, capfd.readouterr().err]:
        assert "pw" not in message
        assert "sig=" not in message
    assert all(".tif" in message for message in messages)


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(ImageError, match=r"nothing\.tif: no such file"):
        open_raster(str(tmp_path / "nothing.tif"))


def test_a_file_that_is_no_raster_is_refused(tmp_path: Path):
    path = tmp_path / "notes.tif"
    path.write_text("not a picture")
    with pytest.raises(ImageError, match=r"notes\.tif: cannot be opened as a raster") as caught:
        open_raster(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="cannot be opened as a raster"):
        open_raster("/vsizip/nothing.zip/a.tif")


def test_a_file_of_layers_is_refused_with_their_names(
    write_raster: Callable[..., str], tmp_path: Path
):
    scene = write_raster("a.tif", np.ones((1, 20, 20), np.uint8))
    path = tmp_path / "layers.gpkg"
    for name in ("one", "two"):
        with rasterio.open(scene) as source:
            profile = {**source.profile, "driver": "GPKG", "raster_table": name}
            for key in ("tiled", "interleave", "blockxsize", "blockysize", "compress"):
                profile.pop(key, None)
            with rasterio.open(path, "w", append_subdataset=True, **profile) as target:
                target.write(source.read())
    with pytest.raises(ImageError, match=r"no bands of its own; use one of its layers.*:one"):
        open_raster(str(path))


def cache_bytes() -> Any:
    return rasterio.env.get_gdal_config("GDAL_CACHEMAX")


def test_the_cache_is_small_while_the_environment_lasts_in_every_thread():
    seen: list[Any] = []

    def work() -> None:
        seen.append(cache_bytes())
        with gdal_environment():
            seen.append(cache_bytes())
        seen.append(cache_bytes())

    with gdal_environment():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert cache_bytes() == CACHE_BYTES
    assert seen == [CACHE_BYTES] * 3


def test_settings_of_the_user_go_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    monkeypatch.setenv("GDAL_CACHEMAX", "200")
    options = gdal_environment().options
    assert "GDAL_HTTP_MAX_RETRY" not in options
    assert "GDAL_CACHEMAX" not in options
    assert "GDAL_HTTP_CONNECTTIMEOUT" in options


def test_a_name_that_gdal_cannot_open_is_said(tmp_path):
    with pytest.raises(ImageError, match="GDAL cannot open a file whose name or folder is not UTF"):
        open_raster(str(tmp_path / "a\udcff.tif"))
