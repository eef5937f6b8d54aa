"""The points that the one-matrix model samples, for several cases."""

from loading import probe
from warmups import call_cases


@probe("sampler_loop")
def sampler_loop(half, params, arrays):
    return call_cases(half, params, arrays, "sample", ("w_model", "shape", "betas", "alpha_bar"), ("seed",))
