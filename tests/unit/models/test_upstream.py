import json
import math

import pytest

from changedet.errors import CheckpointError, ConfigError
from changedet.models import upstream
from changedet.models.upstream_normalisation import IMAGENET_NORMALISATION, parse_normalisation
from changedet.types import CDD_NORMALISATION, Normalisation
from stand_ins import untrained_network


def test_named_normalisations():
    assert parse_normalisation("cdd") == CDD_NORMALISATION
    assert parse_normalisation("seed") == CDD_NORMALISATION
    assert parse_normalisation("imagenet") == IMAGENET_NORMALISATION
    assert IMAGENET_NORMALISATION.bands == "rgb"
    assert IMAGENET_NORMALISATION.mean_before == pytest.approx(
        [255 * mean for mean in (0.485, 0.456, 0.406)]
    )
    assert IMAGENET_NORMALISATION.std_after == pytest.approx(
        [255 * deviation for deviation in (0.229, 0.224, 0.225)]
    )


def test_six_numbers_are_the_means_of_both_dates_in_bgr_order():
    assert parse_normalisation("1,2,3, 4.5,5,6") == Normalisation(
        mean_before=(1.0, 2.0, 3.0),
        mean_after=(4.5, 5.0, 6.0),
        std_before=(1.0, 1.0, 1.0),
        std_after=(1.0, 1.0, 1.0),
        bands="bgr",
    )


def test_a_file_states_everything(tmp_path):
    stated = {
        "mean_before": [1, 2],
        "mean_after": [3, 4],
        "std_before": [5, 6],
        "std_after": [7, 8],
        "bands": "rgb",
    }
    path = tmp_path / "stats.json"
    path.write_text(json.dumps(stated))
    assert parse_normalisation(str(path)) == Normalisation(
        (1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), "rgb"
    )


@pytest.mark.parametrize("text", ["CDD2014", "1,2,3", "1,2,3,4,5,6,7", "a,b,c,d,e,f", ""])
def test_other_text_is_answered_with_what_is_possible(text):
    with pytest.raises(ConfigError, match="cdd, imagenet, six means separated by commas"):
        parse_normalisation(text)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"mean_before": 3}', None, b"\xff\xfe".decode("latin-1")]
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content):
    path = tmp_path / "stats.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"stats\.json cannot be used|cannot read .*stats\.json"):
        parse_normalisation(str(path))


def test_bands_must_be_known(tmp_path):
    path = tmp_path / "stats.json"
    names = ("mean_before", "mean_after", "std_before", "std_after")
    path.write_text(json.dumps({**{name: [1.0] for name in names}, "bands": "grb"}))
    with pytest.raises(ConfigError, match="bands must be rgb or bgr, got 'grb'"):
        parse_normalisation(str(path))


def test_weights_that_are_no_numbers_do_not_convert(tmp_path, monkeypatch):
    network = untrained_network("dasnet")
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    tensors[name].view(-1)[0] = math.nan
    monkeypatch.setattr(upstream, "read_tensors", lambda path: tensors)
    monkeypatch.setattr(upstream, "create_model", lambda *_, **__: network)
    with pytest.raises(CheckpointError, match=f"a.pth has weights .* not finite .* in {name}"):
        upstream.convert_checkpoint(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert list(tmp_path.iterdir()) == []
