import torch
from torch import nn

from changedet.nn.shapes import shapes_only


def test_networks_are_built_without_values_and_nothing_is_drawn():
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    with shapes_only():
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 5))
        nn.init.normal_(network[0].weight, 0.0, 2.0)
        returned = nn.init.trunc_normal_(network[1].weight, std=0.02)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert network[0].weight.shape == (4, 3, 3, 3)
    assert returned is network[1].weight
    assert torch.equal(torch.random.get_rng_state(), state)


def test_outside_of_it_networks_are_drawn_as_ever():
    with shapes_only():
        nn.Linear(2, 2)
    torch.manual_seed(0)
    first = nn.Linear(64, 64).weight
    torch.manual_seed(0)
    assert torch.equal(first, nn.Linear(64, 64).weight)
    assert first.std() > 0
