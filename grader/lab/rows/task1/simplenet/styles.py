"""Right SimpleNets of many architectures."""

from __future__ import annotations

from grader.judging.made_up import Style, before
from grader.lab.files import NETWORK

ROW = "task1.simplenet"
CLASS = "class SimpleNet(nn.Module):\n"
FORWARD_DEF = '    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:\n        """\n        Args:\n'


def _net(name: str, init: str, forward: str, above: str = "", methods: str = "") -> Style:
    """`above`: classes and functions in front of SimpleNet; `methods`: methods in front of its forward."""
    replace = before(NETWORK, CLASS, above) if above else {}
    if methods:
        replace.setdefault(NETWORK, []).extend(before(NETWORK, FORWARD_DEF, methods)[NETWORK])
    return Style(ROW, name, {ROW: init, f"{ROW} (forward)": forward}, replace)


_ALL_LAYERS = """
    sizes = [dim_in] + list(dim_hids) + [dim_out]
    self.blocks = nn.ModuleList()
    for i in range(len(sizes) - 1):
        self.blocks.append(TimeLinear(sizes[i], sizes[i + 1], num_timesteps))
"""

_PLAIN_TAIL = """
    layers = []
    for a, b in zip(dim_hids[:-1], dim_hids[1:]):
        layers += [nn.Linear(a, b), nn.{act}()]
    self.rest = nn.Sequential(*layers, nn.Linear(dim_hids[-1], dim_out))
"""

STYLES: tuple[Style, ...] = (
    _net(
        "time-only-first",
        "self.first = TimeLinear(dim_in, dim_hids[0], num_timesteps)\nself.act = nn.SiLU()"
        + _PLAIN_TAIL.replace("\n    ", "\n").format(act="SiLU"),
        "x = self.rest(self.act(self.first(x, t)))",
    ),
    _net(
        "concatenated-t-over-T",
        """
        self.T = num_timesteps
        dims = [dim_in + 1] + dim_hids
        mods = []
        for i in range(len(dim_hids)):
            mods.append(nn.Linear(dims[i], dims[i + 1]))
            mods.append(nn.ReLU())
        mods.append(nn.Linear(dims[-1], dim_out))
        self.net = nn.Sequential(*mods)
        """,
        """
        tt = (t.float() / self.T).view(-1, 1)
        if tt.shape[0] == 1:
            tt = tt.repeat(x.shape[0], 1)
        x = self.net(torch.cat([x, tt.to(x.dtype)], dim=1))
        """,
    ),
    _net(
        "concatenated-per-sample-t-only",
        """
        self.T = num_timesteps
        self.fc_in = nn.Linear(dim_in + 1, dim_hids[0])
        self.hidden = nn.ModuleList([nn.Linear(p, q) for p, q in zip(dim_hids, dim_hids[1:])])
        self.fc_out = nn.Linear(dim_hids[-1], dim_out)
        """,
        """
        x = torch.cat((x, t.unsqueeze(-1) / self.T), dim=-1)
        x = torch.relu(self.fc_in(x))
        for fc in self.hidden:
            x = torch.relu(fc(x))
        x = self.fc_out(x)
        """,
    ),
    _net(
        "concatenated-sines",
        """
        self.emb_dim = 16
        self.inp = nn.Linear(dim_in + self.emb_dim, dim_hids[0])
        self.mid = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dim_hids))
        self.out = nn.Linear(dim_hids[-1], dim_out)
        """,
        """
        emb = self.sinusoidal(t.reshape(-1)).to(x.dtype).expand(x.size(0), -1)
        h = torch.nn.functional.gelu(self.inp(torch.cat([x, emb], -1)))
        for layer in self.mid:
            h = torch.nn.functional.gelu(layer(h))
        x = self.out(h)
        """,
        methods='''    def sinusoidal(self, t):
        """Attention Is All You Need, Sec. 3.5."""
        half = self.emb_dim // 2
        freqs = torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)
        args = t[:, None].float() * freqs[None]
        return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)

''',
    ),
    _net(
        "learned-embedding-added",
        """
        self.time_embed = nn.Embedding(num_timesteps, dim_hids[0])
        self.proj = nn.Linear(dim_in, dim_hids[0])
        self.act = nn.LeakyReLU(0.1)
        """
        + _PLAIN_TAIL.replace("\n    ", "\n        ").format(act="GELU"),
        """
        h = self.proj(x) + self.time_embed(t)
        x = self.rest(self.act(h))
        """,
    ),
    _net(
        "plain-last-layer",
        """
        self.layers = nn.ModuleList()
        prev = dim_in
        for h in dim_hids:
            self.layers.append(TimeLinear(prev, h, num_timesteps))
            prev = h
        self.final = nn.Linear(prev, dim_out)
        """,
        """
        for layer in self.layers:
            x = torch.relu(layer(x, t))
        x = self.final(x)
        """,
    ),
    _net(
        "relu-everywhere-but-last",
        _ALL_LAYERS,
        """
        for i, block in enumerate(self.blocks):
            x = block(x, t)
            if i < len(self.blocks) - 1:
                x = torch.nn.functional.relu(x)
        """,
    ),
    _net(
        "residual",
        """
        width = dim_hids[0]
        self.stem = TimeLinear(dim_in, width, num_timesteps)
        self.res = nn.ModuleList(nn.ModuleList([TimeLinear(a, b, num_timesteps),
                                                nn.Identity() if a == b else nn.Linear(a, b)])
                                 for a, b in zip(dim_hids[:-1], dim_hids[1:]))
        self.head = nn.Linear(dim_hids[-1], dim_out)
        """,
        """
        x = self.stem(x, t)
        for block, skip in self.res:
            x = skip(x) + block(nn.functional.silu(x), t)
        x = self.head(nn.functional.silu(x))
        """,
    ),
    _net(
        "own-layers",
        """
        dims = [dim_in, *dim_hids]
        self.films = nn.ModuleList([Film(a, b, num_timesteps) for a, b in zip(dims, dims[1:])])
        self.to_out = nn.Linear(dims[-1], dim_out)
        """,
        """
        for film in self.films:
            x = film(x, t)
        x = self.to_out(x)
        """,
        above="""class Film(nn.Module):
    def __init__(self, dim_in, dim_out, T):
        super().__init__()
        self.T = T
        self.lin = nn.Linear(dim_in, dim_out)
        self.gate = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, dim_out))
        self.weight = nn.Parameter(torch.ones(dim_out))

    def forward(self, x, t):
        t = t.view(-1, 1).to(self.lin.weight.dtype) / self.T
        return torch.tanh(self.lin(x) * self.weight * torch.sigmoid(self.gate(t)))


""",
    ),
    _net(
        "float32-embedding",
        """
        self.num_timesteps = num_timesteps
        self.t_mlp = nn.Sequential(nn.Linear(1, dim_hids[0]), nn.SiLU(), nn.Linear(dim_hids[0], dim_hids[0]))
        self.x_in = nn.Linear(dim_in, dim_hids[0])
        """
        + _PLAIN_TAIL.replace("\n    ", "\n        ").format(act="Mish"),
        """
        emb = self.t_mlp(t.to(torch.float32).reshape(-1, 1) / self.num_timesteps)
        x = self.rest(nn.functional.mish(self.x_in(x.float()) + emb))
        """,
    ),
    _net(
        "zero-initialised-head",
        """
        self.layers = nn.ModuleList()
        dims = [dim_in, *dim_hids]
        for a, b in zip(dims[:-1], dims[1:]):
            self.layers.append(TimeLinear(a, b, num_timesteps))
        self.head = nn.Linear(dims[-1], dim_out)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        """,
        """
        for layer in self.layers:
            x = nn.functional.elu(layer(x, t))
        x = self.head(x)
        """,
    ),
    _net(
        "batch-norm-and-dropout",
        """
        dims = [dim_in] + dim_hids
        self.tl = nn.ModuleList(TimeLinear(i, o, num_timesteps) for i, o in zip(dims, dim_hids))
        self.bn = nn.ModuleList(nn.BatchNorm1d(o) for o in dim_hids)
        self.drop = nn.Dropout(0.05)
        self.last = TimeLinear(dim_hids[-1], dim_out, num_timesteps)
        """,
        """
        for tl, bn in zip(self.tl, self.bn):
            x = self.drop(nn.functional.leaky_relu(bn(tl(x, t))))
        x = self.last(x, t)
        """,
    ),
    _net(
        "layer-norm",
        """
        dims = [dim_in] + dim_hids
        self.tl = nn.ModuleList(TimeLinear(i, o, num_timesteps) for i, o in zip(dims, dim_hids))
        self.norms = nn.ModuleList(nn.LayerNorm(o) for o in dim_hids)
        self.last = nn.Linear(dim_hids[-1], dim_out)
        """,
        """
        for tl, norm in zip(self.tl, self.norms):
            x = nn.functional.silu(norm(tl(x, t)))
        x = self.last(x)
        """,
    ),
    _net(
        "unet-like-skips",
        """
        self.down = nn.ModuleList()
        size = dim_in
        for width in dim_hids:
            self.down.append(TimeLinear(size, width, num_timesteps))
            size = width
        self.out = TimeLinear(sum(dim_hids) + dim_in, dim_out, num_timesteps)
        """,
        """
        features = [x]
        for layer in self.down:
            features.append(torch.nn.functional.silu(layer(features[-1], t)))
        x = self.out(torch.cat(features, dim=-1), t)
        """,
    ),
    _net(
        "time-mlp-per-layer",
        """
        self.act = nn.Softplus()
        self.lin = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([dim_in, *dim_hids]))
        self.time = nn.Embedding(num_timesteps, 8)
        self.shift = nn.ModuleList(nn.Linear(8, b) for b in dim_hids)
        self.end = nn.Linear(dim_hids[-1], dim_out, bias=False)
        """,
        """
        temb = self.time(t.long()).reshape(-1, 8)
        for lin, shift in zip(self.lin, self.shift):
            x = self.act(lin(x) + shift(temb))
        x = self.end(x)
        """,
    ),
    _net(
        "small-initial-weights",
        """
        layers = [TimeLinear(a, b, num_timesteps) for a, b in pairwise([dim_in, *dim_hids, dim_out])]
        self.layers = nn.ModuleList(layers)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        """,
        """
        for n, layer in enumerate(self.layers):
            x = layer(x, t) if n == 0 else layer(torch.nn.functional.silu(x), t)
        """,
    ),
    _net(
        "raw-t-appended",
        """
        self.model = nn.Sequential()
        prev = dim_in + 1
        for k, h in enumerate(dim_hids):
            self.model.add_module(f"fc{k}", nn.Linear(prev, h))
            self.model.add_module(f"act{k}", nn.SiLU())
            prev = h
        self.model.add_module("out", nn.Linear(prev, dim_out))
        self.scale = float(num_timesteps)
        """,
        """
        t = torch.as_tensor(t, device=x.device, dtype=x.dtype).reshape(-1, 1).expand(len(x), 1)
        x = self.model(torch.hstack([x, 2 * t / self.scale - 1]))
        """,
    ),
)
