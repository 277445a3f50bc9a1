"""A moving average of the weights, which varies less from step to step than they do."""

from timm.utils.model_ema import ModelEmaV3

from changedet.models.base import ChangeModel

#: The average looks back over this share of the steps so far. Each of n steps then counts in
#: proportion to its cube: the power function of Karras et al. (Analyzing and Improving the Training
#: Dynamics of Diffusion Models, CVPR 2024, section 3.1) with the exponent 3.
_SHARE_OF_STEPS = 0.25


class AveragedModel(ModelEmaV3):
    """Moving average of all weights and batch-norm statistics.

    It looks back over a quarter of the steps so far, so that it does not hold on to the first
    weights and is as long, in proportion, in a short run as in a long one; but never over more than
    1 / (1 - decay) steps, from where on it is an exponential average. It is a function of the
    weights and the number of the step alone, so resuming repeats it exactly.

    Attributes:
        module: The averaged model, in eval mode.

    Args:
        model: The model in training, where it will stay: it is copied.
        decay: Largest share of the average that a step keeps, in (0, 1).
    """

    module: ChangeModel

    def __init__(self, model: ChangeModel, *, decay: float) -> None:
        super().__init__(
            model,
            decay=decay,
            use_warmup=True,
            warmup_gamma=1.0 / _SHARE_OF_STEPS,
            warmup_power=1.0,
        )
