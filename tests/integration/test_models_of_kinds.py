"""Model files of the repository that tell kinds of change apart keep what their cards promise."""

from pathlib import Path

import numpy as np
import pytest

import changedet
from changedet.card import read_card
from changedet.data.mixture_file import MixtureEntry

MODELS = Path(__file__).parents[2] / "models"
FILES = sorted(path for path in MODELS.glob("*.safetensors") if read_card(path).kinds)
#: Megabytes of one file and of all of them.
LARGEST, ALL = 16e6, 40e6


def test_there_are_some_and_all_together_are_small():
    assert "any-change" in [path.stem for path in FILES]
    sizes = [path.stat().st_size for path in MODELS.glob("*.safetensors")]
    assert max(sizes) <= LARGEST
    assert sum(sizes) <= ALL


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_kind_has_a_threshold_that_says_where_it_is_from(path):
    card = read_card(path)
    for kind in card.kinds:
        own = card.for_kind(kind.name)
        assert 0.0 < own.threshold < 1.0
        assert kind.threshold_selection.images > 1
        assert kind.temperature > 0
    assert card.working_gsd_m is not None
    assert card.domain.gsd_m is not None
    assert "research" in card.licence_note or "CC BY-NC-SA" in card.licence_note
    text = (MODELS / "README.md").read_text()
    assert f"| `{path.name}` |" in text
    assert f"{path.stat().st_size / 1e6:.1f} MB" in text
    # The mixture that it is trained on is published beside it.
    mixture = (MODELS / "mixtures" / f"{path.stem}.yaml").read_text()
    for kind in card.kinds:
        assert f"kind: {kind.name}" in mixture


def test_mixtures_use_known_settings():
    import yaml

    for path in (MODELS / "mixtures").glob("*.yaml"):
        for entry in yaml.safe_load(path.read_text())["sets"].values():
            MixtureEntry.model_validate(entry, context=path.parent)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_did_not_change_is_not_found_and_what_the_kinds_say_differs(path):
    rng = np.random.default_rng(0)
    bands = len(read_card(path).normalisation.mean_before)
    colour = np.resize([90, 120, 60], bands)
    ground = colour + 12 * (np.arange(256) // 8 % 2)[:, None, None]
    before = np.clip(ground + rng.normal(0, 6, (256, 256, bands)), 0, 255).astype(np.uint8)
    after = before.copy()
    after[64:192, 64:192] = rng.integers(150, 230, (1, 1, bands), dtype=np.uint8)
    scores = []
    low, _ = read_card(path).working_gsd_m
    for kind in read_card(path).kinds:
        detector = changedet.load(path, device="cpu", kind=kind.name)
        same = detector.predict(before, before, gsd_m=low)
        assert (same.score >= detector.threshold).mean() < 0.01
        scores.append(detector.predict(before, after, gsd_m=low).score)
    assert all(not np.array_equal(scores[0], other) for other in scores[1:])
