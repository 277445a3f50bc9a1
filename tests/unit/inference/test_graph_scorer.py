import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from changedet._optional import OPENVINO
from changedet.card import LARGEST_TILE_PX, read_card
from changedet.errors import CheckpointError, ConfigError, MissingExtraError
from changedet.inference.arrays import flip, resize, take
from changedet.inference.detector import load
from changedet.inference.graph_scorer import tempered
from changedet.inference.opening import open_detector
from changedet.inference.runtimes import open_graph, settle_runtime
from changedet.inference.scorer import Zooming
from changedet.inference.views import views
from changedet.kinds import KindOfChange
from changedet.predict.tiling import choose_tiling

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from graphs import difference_graph, graph_card, write_graph

RUNTIMES = [
    "onnx",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(not OPENVINO.is_installed, reason="needs OpenVINO"),
    ),
]


def pair(height: int = 64, width: int = 64, *, seed: int = 0):
    random = np.random.default_rng(seed)
    before, after = random.integers(0, 255, (2, height, width, 3), dtype=np.uint8)
    return before, after


def difference(before, after) -> np.ndarray:
    return np.abs(after.astype(np.float32) - before).mean(axis=-1) / 255


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_scores_are_those_of_the_graph_on_images_of_any_size(runtime, tmp_path):
    path = write_graph(tmp_path / "model.onnx")
    detector = load(path, runtime=runtime)
    assert (detector.runtime, detector.device_name, detector.in_channels) == (runtime, "cpu", 3)
    for size in ((64, 64), (37, 90), (5, 3)):
        images = pair(*size)
        found = detector.predict(*images)
        np.testing.assert_allclose(found.score, difference(*images), atol=1e-6)
        assert found.threshold == 0.5


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("test_time", ["mirror", "flips", "turns"])
def test_views_come_back_to_their_place(runtime, test_time, tmp_path):
    path = write_graph(tmp_path / "model.onnx", difference_graph(blurred=True))
    images = pair(64, 96)
    wanted = load(path, runtime="onnx", test_time="none").predict(*images).score
    found = load(path, runtime=runtime, test_time=test_time).predict(*images).score
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_coarser_views_are_blurred_and_cover_the_image(tmp_path):
    path = write_graph(tmp_path / "model.onnx", stride=4)
    after = np.zeros((64, 64, 3), np.uint8)
    after[:, 32:] = 255
    found = load(path, test_time="coarse").predict(np.zeros_like(after), after).score
    assert found.shape == (64, 64)
    assert found[:, :28].max() < 0.01
    assert found[:, 36:].min() > 0.99


def test_kinds_have_their_own_output_threshold_and_temperature(tmp_path):
    kinds = (
        KindOfChange("any", threshold=0.3),
        KindOfChange("building", threshold=0.2),
        KindOfChange("cropland", threshold=0.1, temperature=2.0),
    )
    card = graph_card(kinds=kinds, threshold=0.3)
    path = write_graph(tmp_path / "model.onnx", difference_graph(kinds=3), card=card)
    images = pair()
    plain = difference(*images)
    detector = open_detector(path)
    np.testing.assert_allclose(detector.predict(*images).score, plain, atol=1e-6)
    building = detector.for_kind("building")
    assert (building.kind, building.threshold) == ("building", 0.2)
    np.testing.assert_allclose(building.predict(*images).score, plain / 2, atol=1e-6)
    cropland = detector.for_kind("cropland").predict(*images).score
    odds = plain / 4 / (1 - plain / 4)
    np.testing.assert_allclose(cropland, odds**0.5 / (1 + odds**0.5), atol=1e-5)


def test_a_temperature_leaves_nothing_and_certainty_as_they_are():
    score = np.array([0.0, 0.5, 1.0], np.float32)
    np.testing.assert_array_equal(tempered(score, 3.0), score)


@pytest.mark.parametrize("zoom", [0.5, 2.0])
def test_images_are_resampled_for_the_graph_and_scores_brought_back(zoom, tmp_path):
    scorer = open_graph(write_graph(tmp_path / "model.onnx"), runtime="onnx")
    assert isinstance(scorer, Zooming)
    zoomed = scorer.zoomed(zoom)
    assert (zoomed.stride, zoomed.card.tile_px) == (1, round(64 / zoom))
    after = np.zeros((50, 70, 3), np.uint8)
    after[20:, 30:] = 200
    score = zoomed.score([np.zeros_like(after)] * 3, [after] * 3)
    assert score.shape == (3, 50, 70)
    np.testing.assert_allclose(score[1, 24:46, 34:66], 200 / 255, atol=1e-3)
    np.testing.assert_allclose(score[1, :16, :26], 0.0, atol=1e-3)


@pytest.mark.parametrize("size", [(20, 30), (48, 64), (96, 128), (97, 33)])
def test_arrays_and_tensors_are_resampled_alike(size):
    import torch

    images = np.random.default_rng(0).normal(100, 50, (2, 3, 48, 64)).astype(np.float32)
    wanted = resize(torch.from_numpy(images), size, antialias=True).numpy()
    np.testing.assert_allclose(resize(images, size, antialias=True), wanted, atol=1e-3)
    if size[0] >= 48 and size[1] >= 64:
        plain = resize(torch.from_numpy(images), size, antialias=False).numpy()
        np.testing.assert_allclose(resize(images, size, antialias=False), plain, atol=1e-3)
    places = np.array([0, 5, 5, 2])
    np.testing.assert_array_equal(
        take(images, places, -2), take(torch.from_numpy(images), places, -2).numpy()
    )
    for view in views("turns"):
        turned = view.apply(torch.from_numpy(images))
        np.testing.assert_array_equal(view.apply(images), turned.numpy())
        scores = images[:, 0]
        back = view.invert(view.apply(scores), (48, 64))
        np.testing.assert_array_equal(back, scores)
    np.testing.assert_array_equal(flip(images, (-1,)), images[..., ::-1])


class TestFixedTile:
    @pytest.fixture
    def path(self, tmp_path):
        proto = difference_graph(tile_px=64)
        return write_graph(tmp_path / "model.onnx", proto, fixed_tile=True)

    def test_it_is_used_on_images_of_any_size(self, path):
        images = pair(100, 40)
        found = load(path, test_time="turns").predict(*images).score
        np.testing.assert_allclose(found, difference(*images), atol=1e-6)

    def test_views_of_other_sizes_are_refused_when_it_is_opened(self, path):
        with pytest.raises(ConfigError, match=r"one size only, and test-time augmentation scales"):
            load(path, test_time="scales")

    def test_another_tile_is_refused_before_anything_is_scored(self, path):
        detector = load(path)
        options = {"overlap_px": None, "batch_size": None}
        assert choose_tiling(detector, tile_px=None, **options).tile_px == 64
        with pytest.raises(ConfigError, match=r"`tile_px` must be 64"):
            choose_tiling(detector, tile_px=128, **options)
        with pytest.raises(ConfigError, match=r"tiles of 64 x 64 px only, got 128 x 128"):
            detector.scorer.score(*([image] for image in pair(128, 128)))

    def test_it_is_zoomed_to_its_own_tile(self, path):
        detector = load(path).zoomed(0.5)
        assert detector.scorer.only_tile_px == detector.tile_px == 128
        assert (
            choose_tiling(detector, tile_px=None, overlap_px=None, batch_size=None).tile_px == 128
        )
        after = np.full((130, 128, 3), 200, np.uint8)
        score = detector.predict(np.zeros_like(after), after).score
        np.testing.assert_allclose(score, 200 / 255, atol=1e-3)

    def test_a_card_of_another_tile_is_refused(self, tmp_path):
        proto = difference_graph(tile_px=64)
        card = graph_card(tile_px=128)
        path = write_graph(tmp_path / "other.onnx", proto, card=card, fixed_tile=True)
        with pytest.raises(CheckpointError, match=r"speaks of tiles of 128 px.* takes 64 x 64"):
            load(path)


def test_a_card_of_another_network_is_refused(tmp_path):
    path = write_graph(tmp_path / "model.onnx", difference_graph(channels=8))
    with pytest.raises(CheckpointError, match=r"3 bands of each date, 6 together.* 8 channels"):
        load(path)
    card = graph_card(kinds=(KindOfChange("any"), KindOfChange("building")))
    path = write_graph(tmp_path / "kinds.onnx", card=card)
    with pytest.raises(CheckpointError, match=r"names 2 kinds of change, and its graph scores 1"):
        load(path)


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    proto = difference_graph(factors=(float("nan"),))
    path = write_graph(tmp_path / "model.onnx", proto)
    with pytest.raises(CheckpointError, match=r"scores that are not finite numbers") as error:
        load(path).predict(*pair())
    assert str(path) in str(error.value)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_graph_that_a_runtime_cannot_compute_is_refused_in_one_line(runtime, tmp_path):
    proto = difference_graph()
    proto.graph.node[2].op_type = "NoSuchOperator"
    path = write_graph(tmp_path / "model.onnx", proto)
    with pytest.raises(CheckpointError, match=r"is refused by (ONNX Runtime|OpenVINO)") as error:
        load(path, runtime=runtime)
    assert "\n" not in str(error.value)


class TestRuntime:
    @pytest.fixture
    def installed(self, monkeypatch):
        """Say which of the runtimes are installed."""

        def set_installed(*modules):
            monkeypatch.setattr(
                "changedet._optional.Requirement.is_installed",
                property(lambda self: self.module in modules),
            )

        return set_installed

    def test_the_fastest_one_that_is_installed_is_taken(self, installed):
        installed("onnxruntime", "openvino")
        assert settle_runtime("model.onnx") == "openvino"
        assert settle_runtime("model.onnx", "onnx") == "onnx"
        installed("onnxruntime")
        assert settle_runtime("model.onnx") == "onnx"
        assert settle_runtime("model.safetensors") == "torch"

    def test_one_that_is_missing_is_named_with_its_extra(self, installed):
        installed()
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[onnx\]'"):
            settle_runtime("model.onnx")
        installed("onnxruntime")
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[openvino\]'"):
            settle_runtime("model.onnx", "openvino")
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[openvino\]'"):
            settle_runtime("model.onnx", precision="bf16")

    def test_files_and_runtimes_that_do_not_go_together_are_refused(self, installed):
        installed("onnxruntime", "openvino")
        for runtime in ("onnx", "openvino"):
            with pytest.raises(CheckpointError, match="export it first"):
                settle_runtime("model.safetensors", runtime)
        with pytest.raises(CheckpointError, match=r"which PyTorch does not read"):
            settle_runtime("model.onnx", "torch")
        with pytest.raises(ConfigError, match=r"computed on the CPU, not on 'cuda'"):
            settle_runtime("model.onnx", device="cuda")
        with pytest.raises(ConfigError, match=r"runtime must be one of"):
            settle_runtime("model.onnx", "tensorrt")

    def test_less_exact_arithmetic_only_where_it_is_asked_for_and_there(self, installed):
        installed("onnxruntime", "openvino")
        assert settle_runtime("model.onnx", precision="bf16") == "openvino"
        with pytest.raises(ConfigError, match=r"only OpenVINO computes in bf16"):
            settle_runtime("model.onnx", "onnx", precision="bf16")
        with pytest.raises(ConfigError, match=r"PyTorch computes in float32 on a CPU"):
            settle_runtime("model.safetensors", precision="bf16")
        with pytest.raises(ConfigError, match=r"`changedet quantise`\), and predict with the new"):
            settle_runtime("model.safetensors", precision="int8")

    def test_baselines_have_no_runtime(self):
        with pytest.raises(ConfigError, match=r"`runtime` applies to models only"):
            open_detector("baseline:difference", runtime="onnx")
        with pytest.raises(ConfigError, match=r"`precision` applies to models only"):
            open_detector("baseline:difference", precision="bf16")


def test_openvino_computes_in_float32_unless_it_is_told_otherwise(tmp_path):
    pytest.importorskip("openvino")
    path = write_graph(tmp_path / "model.onnx")
    plain, fast = (load(path, runtime="openvino", precision=one) for one in ("float32", "bf16"))
    assert (plain.runtime, fast.runtime) == ("openvino", "openvino (bf16)")
    hints = [
        detector.scorer.graph._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        for detector in (plain, fast)
    ]
    assert hints[0] == "f32"
    images = pair()
    np.testing.assert_allclose(fast.predict(*images).score, difference(*images), atol=0.02)


def test_an_exported_model_is_not_trained_or_changed(tmp_path):
    from changedet.card import replace_card
    from changedet.models.model_file import load_model

    path = write_graph(tmp_path / "model.onnx")
    card = dataclasses.replace(read_card(path), threshold=0.25)
    for change in (lambda: load_model(path), lambda: replace_card(path, path, card)):
        with pytest.raises(CheckpointError, match="give the model file that it was exported from"):
            change()
    assert card.tile_px < LARGEST_TILE_PX


@pytest.mark.skipif(not OPENVINO.is_installed, reason="needs OpenVINO")
def test_a_signal_after_two_models_have_come_and_gone_reaches_its_handler(tmp_path):
    # In a process of its own: a second core of OpenVINO made the signal end the whole process.
    program = (
        "import signal, sys\n"
        "import numpy as np\n"
        "from changedet.inference.detector import load\n"
        "image = np.zeros((64, 64, 3), np.uint8)\n"
        "models = [load(sys.argv[1], runtime='openvino') for _ in range(3)]\n"
        "while models:\n"
        "    models.pop(0).predict(image, image)\n"
        "signal.signal(signal.SIGINT, lambda number, _: print('caught', number))\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    path = write_graph(tmp_path / "model.onnx")
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "caught 2\n"), ended.stderr


@pytest.mark.parametrize(("set_to", "seen"), [(None, "1"), ("0", "0")])
def test_onnx_runtime_is_told_to_send_nothing_before_it_starts(tmp_path, monkeypatch, set_to, seen):
    path = write_graph(tmp_path / "model.onnx")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if set_to is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", set_to)
    program = """
import os, sys
def note(event, arguments):
    if event == "import" and arguments[0].startswith("onnxruntime."):
        print(os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.addaudithook(note)
import changedet
changedet.load(sys.argv[1], runtime="onnx")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[:1] == [seen]
