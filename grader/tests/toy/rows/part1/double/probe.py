"""What double returns for the numbers given."""

import torch
from loading import probe


@probe("double")
def double(half, params, arrays):
    return {}, {"y": torch.as_tensor(half.need("toy", "double")(arrays["x"]))}
