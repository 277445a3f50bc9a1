"""The moving average of the weights, alone and through a checkpoint."""

import pytest
import torch

from changedet.models.registry import create_model
from changedet.training.averaging import AveragedModel
from changedet.training.checkpoint import TrainingPosition, load_checkpoint, save_checkpoint


def make():
    torch.manual_seed(0)
    return create_model("siamese_pyramid", encoder="test_efficientnet", decoder_width=8)


def shift(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(value)


def test_the_average_lies_between_the_first_and_the_last_weights():
    model = make()
    average = AveragedModel(model, decay=0.9)
    first = model.predict.bias.item()
    for step in range(1, 30):
        shift(model, 0.1)
        average.update(model, step=step)
    bias = average.module.predict.bias.item()
    assert first + 0.1 < bias < model.predict.bias.item() - 0.1


def test_the_first_weights_are_soon_forgotten():
    model = make()
    average = AveragedModel(model, decay=0.999)
    shift(model, 5.0)
    for step in range(1, 20):
        average.update(model, step=step)
    torch.testing.assert_close(average.module.predict.bias, model.predict.bias)


def averaged_bias(*, steps, decay):
    """Average a bias that is the number of the step."""
    model = make()
    average = AveragedModel(model, decay=decay)
    for step in range(1, steps + 1):
        torch.nn.init.constant_(model.predict.bias, step)
        average.update(model, step=step)
    return average.module.predict.bias.item()


def test_the_average_looks_back_over_a_share_of_the_steps_so_far():
    # Steps that count in proportion to their cube have the mean 4/5 of the last one.
    assert averaged_bias(steps=50, decay=0.999) == pytest.approx(0.8 * 50, abs=1.0)
    assert averaged_bias(steps=200, decay=0.999) == pytest.approx(0.8 * 200, abs=1.0)


def test_the_average_never_looks_back_further_than_its_decay_says():
    # An exponential average of a ramp lags by decay / (1 - decay) steps.
    assert averaged_bias(steps=200, decay=0.9) == pytest.approx(200 - 9, abs=0.1)


def test_batch_statistics_are_averaged_too():
    model = make().train()
    average = AveragedModel(model, decay=0.5)
    model(*torch.randn(2, 2, 3, 64, 64))
    average.update(model, step=1)
    name = next(name for name in model.state_dict() if name.endswith("running_mean"))
    assert torch.equal(average.module.state_dict()[name], model.state_dict()[name])
    assert not average.module.training


def test_a_resumed_average_goes_on_exactly(tmp_path):
    model = make()
    average = AveragedModel(model, decay=0.9)
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(1, 4):
        shift(model, 0.1)
        average.update(model, step=step)
    save_checkpoint(
        tmp_path / "last",
        model=model,
        optimizer=optimizer,
        progress=TrainingPosition(),
        average=average,
    )
    other = make()
    other_average = AveragedModel(other, decay=0.9)
    load_checkpoint(
        tmp_path / "last",
        model=other,
        optimizer=torch.optim.AdamW(other.parameters()),
        average=other_average,
    )
    for trained, moving in ((model, average), (other, other_average)):
        shift(trained, 0.1)
        moving.update(trained, step=4)
    for name, tensor in average.module.state_dict().items():
        assert torch.equal(tensor, other_average.module.state_dict()[name]), name
