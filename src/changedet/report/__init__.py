"""One page that explains a training run, an evaluation, a prediction, or several of them."""
