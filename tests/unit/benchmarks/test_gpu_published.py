"""``benchmarks/gpu``: the published way computes the same as the package, only more slowly."""

from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def package(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def model():
    """DASNet-V2 whose attentions are no identity, without dropout."""
    from changedet.models.registry import create_model

    torch.manual_seed(3)
    network = create_model("dasnet_v2", encoder="test_efficientnet", head_width=16, dropout=0.0)
    with torch.no_grad():
        network.head.position.attention.gamma.fill_(0.7)
        network.head.channel.attention.gamma.fill_(0.4)
    return network


@pytest.fixture
def crops():
    from gpu.published import Case, crops

    return crops(Case(2, 64, torch.device("cpu")))


def test_losses_and_gradients_of_a_step_are_the_same(model, crops):
    from gpu.published_network import PublishedNetwork, published_loss

    from changedet.training.build import build_loss
    from changedet.training.config import load_config

    before, after, label = crops
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    loss = published_loss(PublishedNetwork(model)(before, after), label, changed_share=0.1)
    loss.backward()
    theirs = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.load_state_dict(state)
    model.zero_grad(set_to_none=True)
    config = load_config("dasnet_v2_l2")
    ours = build_loss(config.loss, config.model, changed_share=0.1)
    total = ours(model(before, after, branches=ours.branches), label).total
    total.backward()
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    for name, value in model.named_parameters():
        assert torch.allclose(theirs[name], value.grad, rtol=1e-3, atol=1e-5), name


def test_scores_and_counts_of_a_prediction_are_the_same(model, crops):
    from gpu.published_network import THRESHOLDS, PublishedNetwork, published_counts

    from changedet.metrics.confusion import confusion_at
    from changedet.metrics.counter import ScoreCounter

    before, after, label = crops
    # Statistics of these very crops, so that distances of random weights are far from 0.
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    model.train()
    with torch.no_grad():
        model(before, after)
    model.eval()
    with torch.no_grad():
        distance = PublishedNetwork(model)(before, after)[-1]
        output = model(before, after, branches="fused")
    assert torch.allclose(distance, output.distance, atol=1e-5)
    assert distance.max() - distance.min() > 0.1
    counts = published_counts(output.distance, label)
    # The package counts scores, halves of the distances; those above 1 do not exist.
    reachable = THRESHOLDS[THRESHOLDS <= 2.0]
    counter = ScoreCounter(extra_thresholds=tuple(reachable / 2))
    counter.update(output.score, label)
    hist = counter.compute()
    middle = int((reachable < float(distance.median())).sum())
    for place in (middle - 1, middle, middle + 1):
        assert sum(one[:, place].sum() for one in counts) in range(1, label.numel())
        confusion = confusion_at(hist, float(reachable[place] / 2))
        # Thresholds are rounded to float32 once as distances, once as scores.
        assert sum(one[0, place] for one in counts) == pytest.approx(confusion.tp, abs=2)
        assert sum(one[1, place] for one in counts) == pytest.approx(confusion.fp, abs=2)
    assert sum(one[:, 0].sum() for one in counts) == label.numel()


def test_the_part_measures_both_ways_in_a_rehearsal(tmp_path):
    import time

    from gpu import published
    from gpu.job import Job, read_json, results_path
    from gpu.report import to_markdown

    job = Job(
        part="published",
        data=str(tmp_path),
        work=str(tmp_path),
        deadline=time.time() + 60,
        device="cpu",
        is_rehearsal=True,
    )
    published.main(job)
    found = read_json(results_path(tmp_path, "published"))
    for work in ("train", "infer"):
        ways = found[work]
        assert ways["times_as_fast"] == pytest.approx(ways["published"]["s"] / ways["package"]["s"])
        assert ways["of_ceiling"] > 0
        assert ways["memory"] is None
    assert "times as fast" in to_markdown({"published": found})
