"""A moving average of the weights, which varies less from step to step than they do."""

from timm.utils.model_ema import ModelEmaV3

from changedet.models.base import ChangeModel


class AveragedModel(ModelEmaV3):
    """Exponential moving average of all weights and batch-norm statistics.

    Early on the average is shorter, so that it does not hold on to the first weights: after n
    steps it looks back over about n^(2/3) of them, and never over more than 1 / (1 - decay). It is
    a function of the weights and the number of the step alone, so resuming repeats it exactly.

    Attributes:
        module: The averaged model, in eval mode.

    Args:
        model: The model in training, where it will stay: it is copied.
        decay: Share of the average that a step leaves as it is, in (0, 1).
    """

    module: ChangeModel

    def __init__(self, model: ChangeModel, *, decay: float) -> None:
        super().__init__(model, decay=decay, use_warmup=True)
