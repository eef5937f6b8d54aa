"""The weights after one hand-made step, for several cases."""

from loading import probe
from warmups import call_cases


@probe("train_step")
def train_step(half, params, arrays):
    tensors, numbers = ("x_clean", "w_model", "betas", "alpha_bar"), ("lr", "seed")
    return call_cases(half, params, arrays, "train_step", tensors, numbers)
