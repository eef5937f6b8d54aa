"""Mistakes in SimpleNet, as students make them."""

from __future__ import annotations

from grader.judging.made_up import Case, swapped
from grader.lab.rows.task1.simplenet.styles import STYLES

__all__ = ["MISTAKES", "STYLES"]

ROW = "task1.simplenet"
LAYERS = """
sizes = [dim_in] + list(dim_hids) + [dim_out]
self.layers = nn.ModuleList([TimeLinear(a, b, num_timesteps) for a, b in zip(sizes[:-1], sizes[1:])])
self.act = nn.ReLU()
"""
FORWARD = """
for i, layer in enumerate(self.layers):
    x = layer(x, t)
    if i < len(self.layers) - 1:
        x = self.act(x)
"""
LAYER_BY_LAYER = """
        for layer in self.layers[:-1]:
            x = self.act(layer(x, t))
        x = self.layers[-1](x, t)
    """
LAST = "self.layers[-1](x, t)"


def _case(style: str, diagnosis: str, points: float, init: str = LAYERS, forward: str = FORWARD) -> Case:
    return Case(f"simplenet-{style}", ROW, points, diagnosis, bodies={ROW: init, f"{ROW} (forward)": forward})


MISTAKES: tuple[Case, ...] = (
    _case("placeholder", "network-returns-its-input", 0.0, "pass", "pass"),
    _case("layers-never-called", "network-returns-its-input", 0.0, forward="x = x"),
    _case(
        "python-list",
        "layers-not-registered",
        1.5,
        """
        sizes = [dim_in] + list(dim_hids) + [dim_out]
        self.layers = []
        for i in range(len(sizes) - 1):
            self.layers.append(TimeLinear(sizes[i], sizes[i + 1], num_timesteps))
        self.act = nn.ReLU()
    """,
    ),
    _case(
        "hidden-layers-in-a-list",
        "layers-not-registered",
        3.5,
        """
        sizes = [dim_in] + list(dim_hids)
        self.hidden = [TimeLinear(a, b, num_timesteps) for a, b in zip(sizes, sizes[1:])]
        self.last = TimeLinear(sizes[-1], dim_out, num_timesteps)
    """,
        """
        for layer in self.hidden:
            x = torch.relu(layer(x, t))
        x = self.last(x, t)
    """,
    ),
    _case(
        "t-in-an-exponential",
        "network-not-finite",
        0.0,
        forward="\n        x = x + torch.exp(t.float()).reshape(-1, 1)" + LAYER_BY_LAYER,
    ),
    _case(
        "log-of-t",
        "network-not-finite",
        0.0,
        forward="\n        x = x + torch.log(t.float())[:, None]" + LAYER_BY_LAYER,
    ),
    _case(
        "no-output-layer",
        "network-wrong-shape",
        1.5,
        """
        sizes = [dim_in] + dim_hids
        self.layers = nn.ModuleList(TimeLinear(i, o, num_timesteps) for i, o in zip(sizes, sizes[1:]))
        self.act = nn.ReLU()
    """,
    ),
    _case("squeezed", "network-wrong-shape", 3.0, forward=swapped(LAYER_BY_LAYER, (LAST, f"{LAST}.squeeze()"))),
    _case(
        "time-ignored",
        "time-ignored",
        2.0,
        """
        modules, width = [], dim_in
        for hidden in dim_hids:
            modules += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        self.net = nn.Sequential(*modules, nn.Linear(width, dim_out))
    """,
        "x = self.net(x)",
    ),
    _case(
        "input-ignored",
        "input-ignored",
        2.0,
        forward="""
        h = torch.zeros_like(x)
        for layer in self.layers[:-1]:
            h = self.act(layer(h, t))
        x = self.layers[-1](h, t)
    """,
    ),
    _case(
        "linear",
        "linear-network",
        2.5,
        forward="""
        for layer in self.layers:
            x = layer(x, t)
    """,
    ),
    _case("unused-layer", "layer-unused", 3.5, LAYERS + "self.time_embed = TimeEmbedding(32, num_timesteps)"),
    _case(
        "detached",
        "layer-unused",
        3.5,
        forward="""
        x = torch.relu(self.layers[0](x, t)).detach()
        for layer in self.layers[1:-1]:
            x = self.act(layer(x, t))
        x = self.layers[-1](x, t)
    """,
    ),
    _case(
        "relu-at-the-end",
        "activation-at-the-end",
        3.0,
        forward="""
        for layer in self.layers:
            x = self.act(layer(x, t))
    """,
    ),
    _case(
        "tanh-at-the-end",
        "activation-at-the-end",
        3.0,
        forward=swapped(LAYER_BY_LAYER, (LAST, f"torch.tanh({LAST})")),
    ),
    _case(
        "sigmoid-at-the-end",
        "activation-at-the-end",
        3.0,
        LAYERS + "self.out = nn.Sigmoid()",
        FORWARD + "x = self.out(x)",
    ),
    _case(
        "saturated-by-t",
        "network-does-not-learn",
        3.0,
        forward="\n        x = x + t.reshape(-1, 1)" + swapped(LAYER_BY_LAYER, ("self.act(", "torch.tanh(")),
    ),
)
