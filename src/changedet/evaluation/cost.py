"""What a network costs: its parameters, and the arithmetic for one pair."""

import copy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from changedet.inference.torch_scorer import evaluating
from changedet.inference.views import views
from changedet.models.base import ChangeModel
from changedet.types import TestTime


@dataclass(frozen=True)
class Cost:
    """What a network costs, whatever it runs on.

    Attributes:
        parameters: Number of trained values; what batch norm measures is not counted.
        gflop: 10^9 floating-point operations, 2 x MAC (spec 5), for the score map of one pair,
            all views of test-time augmentation together.
        side_px: Height and width of that pair.
        views: Number of those views; 1 without test-time augmentation.
    """

    parameters: int
    gflop: float
    side_px: int
    views: int


def measure_cost(
    model: ChangeModel,
    *,
    side_px: int = 256,
    channels: int | None = None,
    test_time: TestTime = "none",
) -> Cost:
    """Count parameters and operations of one pair in prediction, without computing anything.

    Counted are convolutions, matrix products and attention, in the shapes in which they are done;
    element-wise operations, pooling and resizing are not, as is usual.

    Args:
        model: The network; it is left as it was.
        side_px: Height and width of the pair, a multiple of the model's stride.
        channels: Channels of the images; None: those of the model.
        test_time: Views that are all scored; rotated ones cost as much, coarser ones less.

    Raises:
        ConfigError: If the model cannot take such images, or there is no such augmentation.
    """
    seen = views(test_time)
    # Shapes alone decide the count, and the "meta" device works on nothing but shapes.
    shapes = copy.deepcopy(model).to("meta")
    depth = shapes.in_channels if channels is None else channels
    with evaluating(shapes), torch.no_grad(), FlopCounterMode(display=False) as counter:
        for view in seen:
            size = view.size((side_px, side_px), multiple=model.stride)
            pair = torch.zeros((2, 1, depth, *size), device="meta")
            shapes(pair[0], pair[1])
    return Cost(
        parameters=model.parameter_count,
        gflop=counter.get_total_flops() / 1e9,
        side_px=side_px,
        views=len(seen),
    )
