from types import SimpleNamespace

import numpy as np
from PIL import Image

from changedet.evaluation.benchmark.chart import write_size_recall_chart
from changedet.evaluation.benchmark.request import VIEWS
from changedet.metrics.objects import ObjectCounter, object_result


def objects(share, images=2):
    """Squares of two sizes, of which a share of the rows is predicted."""
    counter = ObjectCounter()
    label = np.zeros((64, 64), np.uint8)
    label[2:6, 2:6] = label[20:60, 20:60] = 1
    for _ in range(images):
        mask = label.astype(bool)
        mask[int(64 * share) :] = False
        counter.add(mask, label)
    return object_result(counter.compute(), resamples=20)


def method(title, kind, share, **options):
    views = tuple(SimpleNamespace(view=view, objects=objects(share, **options)) for view in VIEWS)
    return SimpleNamespace(
        method=SimpleNamespace(title=title, source=SimpleNamespace(kind=kind)), views=views
    )


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_another_recall_gives_another_picture(tmp_path):
    found, missed = (method("a", "model", share) for share in (1.0, 0.2))
    write_size_recall_chart(tmp_path / "found.png", [found])
    write_size_recall_chart(tmp_path / "again.png", [found])
    write_size_recall_chart(tmp_path / "missed.png", [missed])
    assert np.array_equal(pixels(tmp_path / "found.png"), pixels(tmp_path / "again.png"))
    assert not np.array_equal(pixels(tmp_path / "found.png"), pixels(tmp_path / "missed.png"))


def test_untrained_methods_are_grey_and_models_coloured(tmp_path):
    def coloured(kind):
        write_size_recall_chart(tmp_path / f"{kind}.png", [method("x", kind, 1.0)])
        seen = pixels(tmp_path / f"{kind}.png")
        return int((seen.max(axis=2) - seen.min(axis=2) > 100).sum())

    assert coloured("floor") == 0
    assert coloured("model") > 100


def test_odd_titles_and_a_single_image_without_interval_are_drawn(tmp_path):
    odd = [method(title, "model", 1.0, images=1) for title in ("_a", "$x^", "c")]
    write_size_recall_chart(tmp_path / "odd.png", odd)
    assert pixels(tmp_path / "odd.png").shape[1] > 1000
