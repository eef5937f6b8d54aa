"""The embedding of labels, their dropout, and guidance over a stand-in network."""

import torch
from building import need_function
from loading import probe
from probing import need_tensor
from stand_ins import as_steps
from torch import nn


class LabelNetwork(nn.Module):
    """out = gain x + slope t + table[label] along the channels; without labels that of null."""

    def __init__(self, arrays, null):
        super().__init__()
        self.gain, self.slope, self.table = arrays["gain"], arrays["slope"], arrays["table"]
        self.null_label = self.num_classes = null

    def forward(self, x, timestep=None, class_label=None, t=None, **_):
        steps = as_steps(timestep if t is None else t, x.shape[0])
        labels = torch.full((len(x),), self.null_label) if class_label is None else torch.as_tensor(class_label)
        rows = self.table[labels.long().reshape(-1).expand(len(x))]  # (B, C)
        drift = torch.outer(steps.float(), self.slope) + rows
        return self.gain * x + drift[:, :, None, None]


@probe("add_class")
def add_class(half, params, arrays):
    """The embedding of time and class with labels, and without."""
    function = need_function(half, "companions", "add_class")
    null = params["null"]
    out = {}
    for name, labels in (("labels", arrays["labels"]), ("none", None)):
        table = nn.Embedding.from_pretrained(arrays["table"].clone())
        time = arrays["time"].clone()
        out[f"out.{name}"] = need_tensor(function(time, labels, table, null), "add_class").detach()
        out[f"after.{name}"] = time
    return {}, out


@probe("drop_labels")
def drop_labels(half, params, arrays):
    """Labels (count, B), drawn a batch at a time from one generator, for each case {p, null, count} and seeds."""
    function = need_function(half, "companions", "drop_labels")
    batches, out = arrays["labels"], {}

    def run(case, global_seed, own_seed):
        half.seed(global_seed)
        generator = None if own_seed is None else torch.Generator().manual_seed(own_seed)
        rows = [
            need_tensor(function(labels.clone(), case["p"], case["null"], generator), "drop_labels")
            for labels in batches[: case["count"]]
        ]
        return torch.stack([row.detach().clone() for row in rows])

    first, second = params["seeds"]
    for i, case in enumerate(params["cases"]):
        out[f"out.{i}"] = run(case, first, first)
    case = params["cases"][0] | {"count": 20}
    out["once"], out["other_global"], out["other_own"] = (
        run(case, first, first),
        run(case, second, first),
        run(case, first, second),
    )
    out["global"], out["global_again"] = run(case, first, None), run(case, second, None)
    given = batches[0].clone()
    half.seed(first)
    function(given, 0.5, params["cases"][0]["null"], None)
    out["after"] = given
    return {"dtype": str(out["out.0"].dtype)}, out


@probe("guided_noise")
def guided_noise(half, params, arrays):
    """The guided prediction for each scale, and the inputs as they are afterwards."""
    function = need_function(half, "companions", "guided_noise")
    network, out = LabelNetwork(arrays, params["null"]), {}
    for i, scale in enumerate(params["scales"]):
        x, t, labels = (arrays[name].clone() for name in ("x", "t", "labels"))
        out[f"out.{i}"] = need_tensor(function(network, x, t, labels, scale, params["null"]), "guided_noise").detach()
        out |= {f"x_after.{i}": x, f"labels_after.{i}": labels}
    return {}, out
