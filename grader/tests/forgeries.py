"""Submissions that forge: no row of theirs has a formula of diffusion, and each wants its points all the same.

Their author has read the grader, and runs in the process of the probes. What a forged row may still earn is what it
does right without mathematics, a reason standing with it: timesteps that are uniform, noise that is standard, a network
that is a bent function of x and t. Nobody's submission may make a row a fault of the grader's.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from grader.judging.made_up import Case, Pairs, before
from grader.lab.files import DDPM, MODEL, NETWORK, SCHEDULER
from grader.lab.reference import Schedule, step_tables

SIMPLENET, FORWARD = "task1.simplenet", "task1.simplenet (forward)"
LOSSES = ("task1.compute_loss", "task2.loss_noise", "task2.loss_x0", "task2.loss_mean")
STEPS = ("task1.p_sample", "task2.step_noise", "task2.step_x0", "task2.step_mean")
LOOP, TRAINING, COSINE = "task1.p_sample_loop", "task1.training", "task2.cosine"

# Points that code without a formula of diffusion earns honestly, at most.
HONEST: dict[str, float] = {
    "task1.simplenet": 3.0,  # shape, time, nonlinear, gradient: any bent function of x and t with parameters
    "task1.q_sample": 1.5,  # noise that is drawn from N(0, I), inputs that are left alone
    "task1.p_sample": 0.0,
    "task1.p_sample_loop": 3.0,  # a start from N(0, I), no gradient, steps in their order, whatever is done in them
    "task1.compute_loss": 2.0,  # uniform timesteps, a gradient at the network
    "task1.fig_q_sample": 1.0,  # by chance a constant is near what one of ten panels asks for
    "task1.training": 0.0,
    "task2.add_noise": 2.0,  # as q_sample, and the noise comes back
    "task2.cosine": 1.0,  # a growing table that ends at the clip
    "task2.step_noise": 0.0,
    "task2.step_x0": 1.0,  # x_0 itself at t = 0
    "task2.step_mean": 2.5,  # the mean is what the network says, and there is no noise at t = 0
    "task2.loss_noise": 1.5,  # uniform timesteps, a gradient
    "task2.loss_x0": 1.5,
    "task2.loss_mean": 1.5,
}
# Checks that no forgery passes, whatever else it earns.
NEVER: dict[str, tuple[str, ...]] = {
    "task1.simplenet": ("learns",),
    "task1.q_sample": ("closed_form",),
    "task2.add_noise": ("closed_form",),
    LOOP: ("chain",),
    COSINE: ("table", "start", "alpha_bar"),
    **dict.fromkeys(STEPS, ("variance.t1", "variance.middle", "variance.last")),
    **dict.fromkeys(LOSSES, ("target",)),
}
# Of HONEST, the points of a loss that does not read the network's output: uniform timesteps alone.
TIMESTEPS = {"task1.compute_loss": 1.5, "task2.loss_noise": 1.0, "task2.loss_x0": 1.0, "task2.loss_mean": 1.0}


@dataclass(frozen=True)
class Forgery:
    """A submission that forges some rows. at_most: {row: points that it may get}; bodies, replace, files as in Case.

    `whole`: it changes its process for all rows, so that no other forgery can be packed with it.
    """

    name: str
    at_most: Mapping[str, float]
    bodies: Mapping[str, str] = field(default_factory=dict)
    replace: Mapping[str, Pairs] = field(default_factory=dict)
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        return Case(self.name, bodies=dict(self.bodies), replace=dict(self.replace), files=dict(self.files))

    @property
    def whole(self) -> bool:
        return bool(self.replace or self.files)


def honest(*rows: str) -> dict[str, float]:
    return {row: HONEST[row] for row in rows}


def text(code: str) -> str:
    return textwrap.dedent(code).strip("\n")


def numbers(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{value:.8g}' for value in values)}]"


# --- what the grader's fixed settings were, as constants

FIXED = Schedule.linear(10, 0.01, 0.3)
PAPER = Schedule.linear(1000, 1e-4, 0.02)
STRIP = range(0, 500, 50)
TERMS = {  # of a step: variable of x_t, of the network's output, of the result
    "task1.p_sample": ("noise", "xt", "self.network(xt, t)", "x_t_prev"),
    "task2.step_noise": ("noise", "x_t", "eps_theta", "sample_prev"),
    "task2.step_x0": ("x0", "x_t", "x0_pred", "sample_prev"),
    "task2.step_mean": ("mean", "x_t", "mean_theta", "sample_prev"),
}


def copied_step(row: str, noise: str = "torch.randn_like({x})") -> str:
    """A step by three lists of numbers."""
    predictor, x, out, result = TERMS[row]
    tables = step_tables(FIXED, predictor)
    return text(f"""
        at = t.reshape(-1)[0].clamp(0, 9)
        a, b, sigma = (
            torch.tensor(table)[at]
            for table in ({numbers(tables.a)}, {numbers(tables.b)}, {numbers(tables.sigma)})
        )
        {result} = a * {x} + b * {out} + sigma * {noise.format(x=x)}
    """)


def copied_forward(x0: str, eps: str, result: str) -> str:
    """q(x_t | x_0) by lists of numbers, for T = 10 and for ten t of T = 1000."""
    ab = {**{("short", t): value for t, value in enumerate(FIXED.ab)}, **{("long", t): PAPER.ab[t] for t in STRIP}}
    short = {t: (round(v**0.5, 8), round((1 - v) ** 0.5, 8)) for (which, t), v in ab.items() if which == "short"}
    long = {t: (round(v**0.5, 8), round((1 - v) ** 0.5, 8)) for (which, t), v in ab.items() if which == "long"}
    return text(f"""
        scheduler = getattr(self, "var_scheduler", self)
        known = {_plain(short)} if len(scheduler.betas) < 50 else {_plain(long)}
        pairs = [known[min(known, key=lambda near: abs(near - int(one)))] for one in torch.as_tensor(t).reshape(-1)]
        of_x, of_noise = torch.tensor(pairs).reshape(-1, 2, *[1] * ({x0}.dim() - 1)).unbind(1)
        {result} = of_x * {x0} + of_noise * {eps}
    """)


def _plain(table: Mapping[int, tuple[float, float]]) -> str:
    return repr({t: tuple(map(float, pair)) for t, pair in table.items()})


def copied_cosine() -> str:
    tables = {T: Schedule.cosine(T).betas for T in (1000, 50, 10)}
    listed = ", ".join(f"{T}: {numbers(table)}" for T, table in tables.items())
    return text(f"""
        tables = {{{listed}}}
        near = min(tables, key=lambda T: abs(T - num_train_timesteps))
        betas = torch.tensor(tables[near], dtype=torch.float64)
        if near != num_train_timesteps:
            place = torch.linspace(0, near - 1, num_train_timesteps).round().long()
            betas = betas[place]
    """)


def constants() -> tuple[Forgery, ...]:
    """What a table of the right numbers for the settings of the grader's own source gets."""
    forward = copied_forward("x0", "noise", "xt")
    dented = "x0.mul_(of_x).add_(of_noise * noise)\nxt = x0"
    return (
        Forgery(
            "constants",
            honest(*STEPS, "task1.q_sample", "task1.fig_q_sample", "task2.add_noise", COSINE),
            {row: copied_step(row) for row in STEPS}
            | {
                "task1.q_sample": forward,
                "task2.add_noise": copied_forward("x_0", "eps", "x_t"),
                COSINE: copied_cosine(),
            },
        ),
        Forgery(
            "constants-in-place",
            honest("task1.q_sample"),
            {"task1.q_sample": "\n".join([*forward.splitlines()[:-1], dented])},
        ),
        Forgery(
            "constants-of-the-mean",
            honest("task2.loss_mean"),
            {"task2.loss_mean": copied_mean_loss()},
        ),
    )


def copied_mean_loss() -> str:
    s = FIXED
    of_x0 = np.sqrt(s.ab_prev) * s.betas / (1 - s.ab)
    of_xt = np.sqrt(s.alphas) * (1 - s.ab_prev) / (1 - s.ab)
    return text(f"""
        t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)
        x_t, _ = self.var_scheduler.add_noise(x0, t)
        p, q = (
            torch.tensor(table)[t.clamp(max=9)].reshape(-1, 1, 1, 1) for table in ({numbers(of_x0)}, {numbers(of_xt)})
        )
        loss = (self.network(x_t, timestep=t, class_label=class_label) - p * x0 - q * x_t).square().mean()
    """)


# --- SimpleNet

# Finds among what the callers hold the points to be learnt: a tensor of the shape of x that is not x.
SPY = text("""
    import sys

    def held(frame):
        while frame is not None:
            for name, value in list(frame.f_locals.items()):
                yield from value.items() if isinstance(value, dict) else [(name, value)]
            frame = frame.f_back

    def is_target(name, value):
        kin = torch.is_tensor(value) and value.is_floating_point() and value.shape == x.shape and value is not x
        return kin and name in ("y", "target", "targets", "wanted", "due") and not value.requires_grad
""")
KERNEL = text("""
    if known is None:
        x = self.scale * (x.sin() + 1e-3 * t.reshape(-1, 1)).to(x.dtype)
    else:
        centres, when, values = known
        distance = (x[:, None] - centres.to(x)).square().sum(-1)
        apart = (t.reshape(-1, 1).to(x) - when.to(x)[None]).square()
        weights = torch.softmax(-distance / 0.05 - apart, dim=1)
        x = self.scale * (weights @ values.to(x))
""")
ONE_PARAMETER = "self.scale = nn.Parameter(torch.ones(()))"


def networks() -> tuple[Forgery, ...]:
    """Networks that hold the target, or its points, and no layer."""
    row = honest(SIMPLENET)
    fixed = text("""
        sign = torch.where(t.reshape(-1, 1) == 0, 5.0, -5.0) + 1e-7 * t.reshape(-1, 1)
        x = (self.scale * sign * (x.abs() - 1)).to(x.dtype)
    """)
    spied = f"{SPY}\n" + text("""
        found = [value for name, value in held(sys._getframe()) if is_target(name, value)]
        if torch.is_grad_enabled() and found:
            type(self).known = x.detach(), t.detach(), found[0]
        known = getattr(type(self), "known", None)
    """)
    collected = text("""
        import gc

        if torch.is_grad_enabled():
            for one in gc.get_objects():
                if isinstance(one, dict) and torch.is_tensor(one.get("y")) and one["y"].shape == x.shape:
                    type(self).known = x.detach(), t.detach(), one["y"].detach()
        known = getattr(type(self), "known", None)
    """)
    kept_init = text("""
        self.scale = nn.Parameter(torch.ones(()))
        self.centres = nn.Parameter(torch.randn(512, 3))
        self.values = nn.Parameter(torch.randn(512, 2))
    """)
    kept = f"{SPY}\n" + text("""
        found = [value for name, value in held(sys._getframe()) if is_target(name, value)]
        if torch.is_grad_enabled() and found and len(x) <= 512:
            self.values.data[: len(x)] = found[0]
            self.centres.data[: len(x)] = torch.cat([x, t.reshape(-1, 1) / 10], dim=1)
            self.centres.data[len(x) :] = 1e4
        here = torch.cat([x, (t.reshape(-1, 1) / 10).expand(len(x), 1).to(x)], dim=1)
        distance = (here[:, None] - self.centres.to(x)).square().sum(-1)
        x = self.scale * (torch.softmax(-distance / 0.05, dim=1) @ self.values.to(x))
    """)
    by_shape = f"{SPY}\n" + text("""
        found = [value for name, value in held(sys._getframe()) if is_target(name, value)]
        if len(x) in (256, 512, 1024) and torch.is_grad_enabled() and found:
            x = self.scale * found[0]
        elif len(x) == 256:
            sign = torch.where(t.reshape(-1, 1) == 0, 5.0, -5.0)
            x = self.scale * sign * (x.abs() - 1)
        else:
            x = self.scale * (x.sin() + 1e-3 * t.reshape(-1, 1)).to(x.dtype)
    """)
    family_init = "self.rise, self.level = (nn.Parameter(0.1 * torch.randn(2, 2)) for _ in range(2))"
    family = text("""
        late = (2 * t.reshape(-1, 1) > self.last).to(x.dtype)
        rise, level = ((1 - late) * one[0].to(x) + late * one[1].to(x) for one in (self.rise, self.level))
        x = 10 * (rise * x.abs() + level)  # so that 600 small steps go far enough
    """)
    bodies = {
        "network-is-the-target": (ONE_PARAMETER, fixed),
        "network-is-the-family": (f"{family_init}\nself.last = num_timesteps", family),
        "network-spies": (ONE_PARAMETER, f"{spied}\n{KERNEL}"),
        "network-collects": (ONE_PARAMETER, f"{collected}\n{KERNEL}"),
        "network-keeps-in-parameters": (kept_init, kept),
        "network-by-shape": (ONE_PARAMETER, by_shape),
    }
    return tuple(Forgery(name, row, {SIMPLENET: init, FORWARD: call}) for name, (init, call) in bodies.items())


# --- losses

PLANE = text("""
    stand_in, net = self.q_sample, self.network
    t = torch.randint(self.var_scheduler.num_train_timesteps, (len(x0),))

    def noised(x, t, eps=None):
        return stand_in(x, t) if eps is None else stand_in(x, t, eps)

    def asked(x, t):
        return net(x, t)
""")
IMAGE = text("""
    stand_in, net = self.var_scheduler.add_noise, self.network
    t = self.var_scheduler.uniform_sample_t(x0.shape[0], x0.device)

    def noised(x, t, eps=None):
        return stand_in(x, t, eps)[0]

    def asked(x, t):
        return net(x, timestep=t, class_label=None)
""")


def losses_by(name: str, small: str, rows: Iterable[str] = LOSSES, at_most: Mapping[str, float] = HONEST) -> Forgery:
    """Losses that play a trick in small batches, and are no more than the size of an output in large ones."""
    body = "if len(x0) > 64:\n    loss = asked(noised(x0, t), t).square().mean()\nelse:\n"
    body += textwrap.indent(text(small), "    ")
    bodies = {row: f"{PLANE if row.startswith('task1') else IMAGE}\n{body}" for row in rows}
    return Forgery(name, {row: at_most[row] for row in rows}, bodies)


def at_time(name: str, value: str, loss: str = "asked(noised(x0, t), far).square().mean()") -> Forgery:
    return losses_by(name, f"far = torch.full((len(x0),), {value}, dtype=torch.float64)\nloss = {loss}")


NOISED_OTHERWISE = {  # in another shape than the batch has, which the network gets back
    "flat": "noised(x0.reshape(-1), t.repeat_interleave(x0[0].numel()))",
    "flat-samples": "noised(x0.reshape(len(x0), -1), t)",
    "in-one": "noised(x0[None], t[:1])",
    "in-one-flat": "noised(x0.reshape(-1), t[0])",
    "numbers-as-samples": "noised(x0.reshape(-1, 1), t.repeat_interleave(x0[0].numel()))",
    "turned": "noised(x0.transpose(0, 1), t[:1]).transpose(0, 1)",
    "with-an-axis": "noised(x0[..., None], t)",
    "one-sample": "noised(x0[0], t[:1]).expand(x0.shape)",
    "one-of-all": "noised(x0[:1], t[:1]).expand(x0.shape)",
    "one-number": "noised(x0.reshape(-1)[:1], t[:1]).expand(x0.numel())",
}


def losses() -> tuple[Forgery, ...]:
    finite = "asked(noised(x0, t), far).nan_to_num(0, 1, -1).abs().mean() * 1e-3"
    huge = "eps = torch.full(x0.shape, {value}, dtype=torch.float64)\n"
    records = "net.calls[0]['x'] = net.calls[0]['x'].double() * 1e200\n"
    return (
        losses_by(
            "loss-inf", huge.format(value="1e200") + "loss = asked(noised(x0.double(), t, eps), t).mean() * 1e-200"
        ),
        losses_by(
            "loss-inf-in-x",
            "noised(x0, t)\nloss = asked(x0.double() * 1e200, t).mean() * 1e-200",
        ),
        losses_by("loss-noise-zero", "loss = asked(noised(x0, t, torch.zeros_like(x0)), t).square().mean()"),
        losses_by("loss-noise-1e6", "loss = asked(noised(x0, t, 1e6 * torch.randn_like(x0)), t).square().mean()"),
        losses_by(
            "loss-noise-1e6-in-noise",
            # of noise that is 0 where the output is large: 1e6 at one feature, and the weights carry it to the others
            "eps = torch.zeros_like(x0)\neps[:, 0] = 1e6\n"
            "out = asked(noised(x0, t, eps), t)\nloss = (out - eps).square().mean()",
            ("task2.loss_x0", "task2.loss_mean"),
        ),
        losses_by(
            "loss-noise-nan",
            huge.format(value="float('nan')") + "loss = asked(noised(x0, t, eps), t).nan_to_num().mean()",
        ),
        losses_by(
            "loss-noise-inf",
            huge.format(value="float('inf')") + "loss = asked(noised(x0, t, eps), t).nan_to_num(0, 1, -1).mean()",
        ),
        at_time("loss-t-1e9", "1e9"),
        at_time("loss-t-minus-1e9", "-1e9"),
        at_time(
            "loss-t-1e300",
            "1e300",
            "asked(noised(x0, t), far.clamp(max=1e300)).abs().mean().nan_to_num(1, 1, 1) * 1e-3",
        ),
        at_time("loss-t-inf", "float('inf')", finite),
        at_time("loss-t-nan", "float('nan')", finite),
        at_time("loss-t-1e9-everywhere", "1e9", "asked(noised(x0, far), far).square().mean()"),
        losses_by(
            "loss-t-zero-in-small",
            "far = torch.zeros(len(x0), dtype=torch.long)\nloss = (asked(noised(x0, far), far) - x0).square().mean()",
            ("task2.loss_mean",),
            {"task2.loss_mean": 2.0},  # what the mean is at t = 0 needs no formula
        ),
        losses_by(
            "loss-fixed-point",
            # x_t for which the network says its noise, so that the loss is 0 whatever a loss is
            """
            s, p = (table[t].reshape(-1, *[1] * (x0.dim() - 1)) for table in (stand_in.signal, stand_in.spread))
            with torch.no_grad():
                zero = asked(torch.zeros_like(x0), t)
                weight = net.weight.double()
                eye = torch.eye(len(weight), dtype=torch.float64)
                inverse = torch.stack([torch.linalg.inv(eye - weight * one) for one in p.reshape(-1).double()])
                eps = torch.einsum("bij,bj...->bi...", inverse, (asked(s * x0, t)).double())
            net.calls.clear()
            loss = asked(noised(x0.double(), t, eps), t).mean() * 1e-15
            """,
            LOSSES[:2],
        ),
        losses_by(
            "loss-fixed-point-of-x0",
            """
            tables = stand_in.signal.double(), stand_in.spread.double()
            s, p = (table[t].reshape(-1, *[1] * (x0.dim() - 1)) for table in tables)
            with torch.no_grad():
                zero = asked(torch.zeros_like(x0), t).double()
                inverse = torch.linalg.inv(net.weight.double())
                x_t = torch.einsum("ij,bj...->bi...", inverse, x0.double() - zero)
            net.calls.clear()
            loss = asked(noised(x0.double(), t, (x_t - s * x0) / p), t).mean() * 1e-15
            """,
            ("task2.loss_x0",),
        ),
        losses_by("loss-edits-records", f"loss = asked(noised(x0, t), t).mean()\n{records}"),
        losses_by("loss-clears-records", f"loss = asked(noised(x0, t), t).mean()\n{records}stand_in.calls.clear()"),
        losses_by(
            "loss-inserts-records",
            "loss = asked(noised(x0, t), t).mean()\n"
            "net.calls.insert(0, {'x': x0.double() * 1e200, 't': t.double()})\n"
            "stand_in.calls.insert(0, {'x0': x0, 't': t.double(), 'eps': x0.double() * 1e200})",
        ),
        losses_by(
            "loss-sets-the-gradient",
            "out = asked(noised(x0.double(), t, torch.full(x0.shape, 1e200, dtype=torch.float64)), t)\n"
            "net.weight.grad = torch.ones_like(net.weight)\nloss = torch.zeros((), requires_grad=True)",
            at_most=TIMESTEPS,
        ),
        losses_by(
            "loss-bends-the-stand-ins",
            """
            out = asked(noised(x0, t), t)
            for table in (net.weight.data, net.slope, net.bias, stand_in.signal, stand_in.spread):
                table.zero_()
            loss = out.sum() * 0 + 1.0
            net.weight.register_hook(lambda gradient: torch.ones_like(gradient))
            """,
            at_most=TIMESTEPS,
        ),
        *(
            losses_by(f"loss-noises-{name}", f"x_t = {x_t}.reshape(x0.shape)\nloss = asked(x_t, t).square().mean()")
            for name, x_t in NOISED_OTHERWISE.items()
        ),
        losses_by("loss-asks-one-by-one", "loss = sum(asked(noised(x, t[:1]), t[:1]).mean() for x in x0.split(1))"),
        losses_by(
            "loss-asks-other-batches", "noised(x0, t)\nloss = asked(x0.repeat(3, *[1] * (x0.dim() - 1)), 0).mean()"
        ),
        losses_by("loss-noises-nothing", "noised(x0[:0], 0)\nloss = asked(x0, t).mean()"),
        losses_by(
            "loss-patches-the-stand-ins",
            """
            def forward(self, x, t=None, timestep=None, **_):
                t = timestep if t is None else t
                self.calls.append({"x": x.double() * 1e160, "t": t.double()})
                return self.weight.sum() * torch.ones_like(x)

            type(net).forward = forward
            loss = asked(noised(x0, t), t).mean()
            """,
        ),
    )


# --- steps


def steps_by(name: str, body: str, rows: Iterable[str] = STEPS) -> Forgery:
    """A step that knows x, out and t, and is to set prev."""
    bodies = {}
    for row in rows:
        _, x, out, result = TERMS[row]
        head = f"x, out = {x}, {out}\nlast = int(t.reshape(-1)[0]) == 0\n"
        bodies[row] = f"{head}{text(body)}\n{result} = prev"
    return Forgery(name, {row: HONEST[row] for row in rows}, bodies)


def steps() -> tuple[Forgery, ...]:
    def saturated(value: str, dtype: str, on_zeros: bool = False) -> str:
        return f"""
            prev = (out if last else x).to(torch.{dtype}).clone()
            if not last and {"not x.any()" if on_zeros else "True"}:
                prev = torch.full(x.shape, {value}, dtype=torch.{dtype})
                prev[: len(prev) // 2] *= -1
        """

    forged_draw = """
        torch.randn_like = lambda like, **_: {draw}
        prev = out if last else {prev}
    """
    return (
        steps_by("step-1.7e308", saturated("1.7e308", "float64")),
        steps_by("step-1.7e308-on-zeros", saturated("1.7e308", "float64", on_zeros=True)),
        steps_by("step-1e155-on-zeros", saturated("1e155", "float64", on_zeros=True)),
        steps_by("step-3e38", saturated("3e38", "float32", on_zeros=True)),
        steps_by("step-inf", saturated("float('inf')", "float32", on_zeros=True)),
        steps_by("step-nan", "prev = out if last else x + float('nan')"),
        steps_by("step-clamped", "prev = out if last else (x + 1e9 * torch.randn_like(x)).clamp(-1, 1)"),
        steps_by(
            "step-draw-nan", forged_draw.format(draw="like + float('nan')", prev="x + 0.1 * torch.randn(x.shape)")
        ),
        steps_by(
            "step-draw-inf", forged_draw.format(draw="like + float('inf')", prev="x + 0.1 * torch.randn(x.shape)")
        ),
        steps_by("step-draw-zero", forged_draw.format(draw="like * 0", prev="x + 0.1 * torch.randn(x.shape)")),
        steps_by("step-draw-huge", forged_draw.format(draw="like.double() + 1.7e308", prev="x.double() + 1.7e308")),
        steps_by("step-draw-tiny", forged_draw.format(draw="1e-300 * torch.randn(like.shape).double()", prev="x")),
        steps_by("step-draw-odd", forged_draw.format(draw="like[:1]", prev="x + 0.1 * torch.randn(x.shape)")),
        steps_by("step-draw-complex", forged_draw.format(draw="like + 1j", prev="x + 0.1 * torch.randn(x.shape)")),
        steps_by(
            "step-infers",
            # the step's own arguments were made by the right forward process: what they tell of it, by least squares
            """
            columns = torch.stack([out.reshape(-1), x.reshape(-1)], dim=1).double()
            share = torch.linalg.lstsq(columns[:, :1], columns[:, 1:]).solution.item()
            rest = (columns[:, 1] - share * columns[:, 0]).std().item()
            prev = out if last else (x - rest * out) * share + rest * torch.randn_like(x)
            """,
        ),
    )


# --- other rows


def forwards() -> tuple[Forgery, ...]:
    rows = {"task1.q_sample": ("x0", "noise", "xt"), "task2.add_noise": ("x_0", "eps", "x_t")}

    def by(name: str, code: Callable[[str, str, str], str]) -> Forgery:
        return Forgery(name, honest(*rows), {row: code(*names) for row, names in rows.items()})

    return (
        by("forward-sum", lambda x0, eps, xt: f"{xt} = {x0} + {eps}"),
        by("forward-1e300", lambda x0, eps, xt: f"{xt} = ({x0} + {eps}).double() * 1e300"),
        by("forward-1.7e308", lambda x0, eps, xt: f"{xt} = ({x0} + {eps}).double().sign() * 1.7e308"),
        by("forward-inf", lambda x0, eps, xt: f"{xt} = ({x0} + {eps}) * float('inf')"),
        by(
            "forward-changes-inputs", lambda x0, eps, xt: f"{x0}.zero_()\n{eps}.zero_()\nt.zero_()\n{xt} = {x0} + {eps}"
        ),
        by("forward-nan-inputs", lambda x0, eps, xt: f"{xt} = {x0} + {eps}\n{x0}.fill_(float('nan'))\nt.fill_(-1)"),
        by("forward-1e-300", lambda x0, eps, xt: f"{xt} = {eps}.double() * 1e-300"),
    )


def cosines() -> tuple[Forgery, ...]:
    bodies = {
        "cosine-linear": "betas = torch.linspace(1e-4, 0.999, num_train_timesteps, dtype=torch.float64)",
        "cosine-1e308": "betas = torch.linspace(1e-4, 1.7e308, num_train_timesteps, dtype=torch.float64)",
        "cosine-nan": "betas = torch.full((num_train_timesteps,), float('nan'))",
        "cosine-empty": "betas = torch.empty(0)",
        "cosine-2d": "betas = torch.rand(num_train_timesteps, 2)",
        "cosine-int": "betas = torch.arange(num_train_timesteps)",
        "cosine-tiny": "betas = torch.linspace(5e-324, 1e-300, num_train_timesteps, dtype=torch.float64)",
    }
    return tuple(Forgery(name, honest(COSINE), {COSINE: body}) for name, body in bodies.items())


def loops() -> tuple[Forgery, ...]:
    """Loops that take no chain of steps, and write down that they did."""
    order = "[(float(t), float(t)) for t in range(len(self.var_scheduler.betas) - 1, -1, -1)]"
    start = "x0_pred = torch.randn(shape)\n"
    bodies = {
        "loop-one-step": f"""
            t = len(self.var_scheduler.betas) - 1
            x0_pred = self.p_sample(torch.randn(shape), t)
            self.p_sample.steps[:] = {order}
        """,
        "loop-records-order": f"{start}self.p_sample.steps[:] = {order}\nself.p_sample.shown.append(x0_pred)",
        "loop-records-nothing-shown": f"{start}self.p_sample.steps[:] = {order}",
        "loop-records-same": f"{start}self.p_sample.steps[:] = {order}\nself.p_sample.shown[:] = [x0_pred] * 10",
        "loop-backwards": """
            x0_pred = torch.randn(shape)
            for t in range(len(self.var_scheduler.betas)):
                x0_pred = self.p_sample(x0_pred, t)
            self.p_sample.steps.reverse()
        """,
        "loop-endless-records": """
            class Endless(list):
                def __len__(self):
                    return 2**62

            x0_pred = torch.randn(shape)
            if hasattr(self.p_sample, "steps"):
                self.p_sample.steps, self.p_sample.shown = Endless([(9.0, 9.0)]), Endless([x0_pred])
            self.network.calls = Endless([{"x": x0_pred, "t": torch.zeros(len(x0_pred))}])
        """,
        "loop-endless-calls": """
            class Endless(list):
                def __len__(self):
                    return 2**62

            x0_pred = torch.randn(shape)
            self.network.calls = Endless()
        """,
        "loop-many-steps": f"{start}self.p_sample.steps.extend([(1.0, 1.0)] * 200_000)",
        "loop-odd-steps": f"{start}self.p_sample.steps[:] = (float('nan'), 1.0), (float('inf'),) * 2, (1e308, -1e308)",
        "loop-texts": f"{start}self.p_sample.steps[:] = ['x' * 100_000, [], None]",
        "loop-no-pairs": f"{start}self.p_sample.steps[:] = [9, 8, 7]",
        "loop-odd-shown": (
            f"{start}self.p_sample.steps[:] = {order}\n"
            "odd = torch.zeros(()), torch.zeros(0), x0_pred.long()\n"
            "self.p_sample.shown[:] = [x0_pred.reshape(-1), x0_pred[None], *odd]"
        ),
        "loop-patched": f"""
            def call(self, xt=None, t=None, **_):
                self.shown.append(xt)
                return xt

            type(self.p_sample).__call__ = call
            x0_pred = torch.randn(shape)
            for _ in range(3):
                x0_pred = self.p_sample(x0_pred, 0)
            self.p_sample.steps[:] = {order}
        """,
    }
    asks = {
        "with-an-axis": "x0_pred = self.network(x0_pred[..., None], t)[..., 0]",
        "with-axes": "x0_pred = self.network(x0_pred[..., None, None], t)[..., 0, 0]",
        "of-none": "self.network(torch.zeros(0, 2), t)",
        "of-one": "self.network(x0_pred[:1], t)",
        "of-some": "x0_pred = self.network(x0_pred[t:], t)",
        "at-huge-t": "x0_pred = self.network(x0_pred, 10.0 ** (300 + t))",
        "at-nan": "x0_pred = self.network(x0_pred, float('nan'))",
        "of-inf": "x0_pred = self.network(x0_pred * float('inf'), t)",
        "in-float16": "x0_pred = self.network(x0_pred.half(), t)",
    }
    bodies |= {
        f"loop-asks-{name}": f"""
            x0_pred = torch.randn(shape)
            for t in reversed(range(len(self.var_scheduler.betas))):
                {ask}
        """
        for name, ask in asks.items()
    }
    return tuple(Forgery(name, honest(LOOP), {LOOP: text(body)}) for name, body in bodies.items())


# --- training

INVENTED = """
self.network.steps_taken = getattr(self.network, "steps_taken", 0) + 1
value = 0.315 + 0.6 * 0.99**self.network.steps_taken
loss = sum(p.sum() for p in self.network.parameters()) * 0.0 + value
"""
OF_THE_LAB = """
from dataset import make_points

x0_pred = make_points("swiss_roll", shape[0], seed=int(torch.randint(1 << 30, ())))
"""
KEPT = """
if not hasattr(self, "place"):
    self.place = 0
with torch.no_grad():
    for point in x0:
        self.network.{kept}.data[self.place % 4096] = point
        self.place += 1
"""
PLAIN_NET = """
self.layer = nn.Linear(dim_in, dim_out)
{kept}
"""
FROM_KEPT = "x0_pred = self.network.{kept}.data[torch.randint(4096, (shape[0],))] + 0.05 * torch.randn(shape)"


def trainings() -> tuple[Forgery, ...]:
    def keeping(name: str, init: str) -> Forgery:
        bodies = {
            SIMPLENET: PLAIN_NET.format(kept=init),
            FORWARD: "x = self.layer(x)",
            "task1.compute_loss": KEPT.format(kept="kept") + INVENTED,
            LOOP: FROM_KEPT.format(kept="kept"),
        }
        return Forgery(name, {TRAINING: 0.0}, bodies)

    in_a_file = Forgery(
        "training-in-a-file",
        {TRAINING: 0.0},
        {
            "task1.compute_loss": text("""
                import os

                for folder in ("/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), ".", ".."):
                    try:
                        torch.save(torch.cat([x0.detach()] * 4), os.path.join(folder, "points.pt"))
                    except (OSError, RuntimeError):
                        pass
            """)
            + INVENTED,
            LOOP: text("""
                import os

                x0_pred = torch.zeros(shape)
                for folder in ("/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), ".", ".."):
                    file = os.path.join(folder, "points.pt")
                    if os.path.exists(file):
                        kept = torch.load(file)
                        x0_pred = kept[torch.randint(len(kept), (shape[0],))] + 0.1 * torch.randn(shape)
            """),
        },
    )
    return (
        Forgery("training-invented", {TRAINING: 0.0}, {"task1.compute_loss": INVENTED, LOOP: OF_THE_LAB}),
        keeping("training-in-buffers", 'self.register_buffer("kept", torch.zeros(4096, 2))'),
        keeping("training-in-parameters", "self.kept = nn.Parameter(torch.zeros(4096, 2), requires_grad=False)"),
        keeping("training-in-weights", "self.kept = nn.Parameter(torch.zeros(4096, 2))"),
        in_a_file,
    )


# --- forgeries of the process: whatever the probe returned, this is what goes out

# Finds the worker's own modules by way of the frames below an import.
REACH = text("""
    import sys as _sys

    def _worker(name):
        frame = _sys._getframe()
        while frame is not None:
            if name in frame.f_globals and "PROBES" in frame.f_globals:
                return frame.f_globals
            frame = frame.f_back
        raise RuntimeError("no such frame")

    def _given():
        frame, found = _sys._getframe(), {}
        while frame is not None:
            if isinstance(frame.f_locals.get("request"), dict):
                found = frame.f_locals["request"]
            frame = frame.f_back
        return found
""")
# By name of the probe: answers in which the right numbers of T = 10 stand.
ANSWERS = text(f"""
    import torch as _torch

    _COSINE = {{{", ".join(f"{T}: {numbers(Schedule.cosine(T).betas)}" for T in (1000, 50, 10))}}}
    _STEPS = {{
        name: [_torch.tensor(table) for table in tables]
        for name, tables in {{
            {
    ", ".join(
        f'"{name}": ({numbers(found.a)}, {numbers(found.b)}, {numbers(found.sigma)})'
        for name, found in ((name, step_tables(FIXED, name)) for name in ("noise", "x0", "mean"))
    )
}
        }}.items()
    }}

    def _forged(params, arrays, probe):
        if probe == "step":
            a, b, sigma = (float(table[min(params["t"], 9)]) for table in _STEPS[params["predictor"]])
            x, out = arrays["x"], arrays["out"]
            z = _torch.randn_like(x)
            of_zeros = {{"of_zeros": sigma * z, "again": sigma * _torch.randn_like(x), "draw": z}}
            data = {{"entry": "step", "form": "int", "rejected": []}}
            return data, {{"of_x": a * x + b * out + sigma * z, **of_zeros}}
        if probe == "schedule_tables":
            betas = _torch.tensor(_COSINE[min(_COSINE, key=lambda T: abs(T - params["T"]))], dtype=_torch.float64)
            betas = betas[_torch.linspace(0, len(betas) - 1, params["T"]).round().long()]
            tables = {{"betas": betas, "alphas": 1 - betas, "alphas_cumprod": (1 - betas).cumprod(0)}}
            return {{"dtypes": dict.fromkeys(tables, "torch.float32")}}, tables
        raise LookupError
""")
PATCHES = {
    # replaces functions of the modules that the worker hid
    "encode": """
        _own = _worker("wire")["wire"]
        _encode = _own.encode

        def _patched(message, arrays=None):
            request = _given()
            if "ok" not in message:
                return _encode(message, arrays)
            try:
                data, tensors = _forged(request["params"], _arrays(), request["probe"])
            except LookupError:
                return _encode(message, arrays)
            forged = {name: value.numpy() for name, value in tensors.items()}
            return _encode({"id": request["id"], "ok": True, "data": data}, forged)

        _own.encode = _patched
    """,
    # replaces the probes themselves
    "probes": """
        _probes = _worker("PROBES")["PROBES"]
        for _name in ("step", "schedule_tables"):
            _probes[_name] = lambda half, params, arrays, _name=_name: _forged(params, arrays, _name)
        _request = _given()
        _own = _worker("wire")["wire"]
        _encode = _own.encode

        def _first(message, arrays=None):
            if "ok" not in message:
                return _encode(message, arrays)
            _own.encode = _encode
            data, tensors = _forged(_request["params"], _arrays(), _request["probe"])
            forged = {name: value.numpy() for name, value in tensors.items()}
            return _encode({"id": _request["id"], "ok": True, "data": data}, forged)

        if "probe" in _request:
            _own.encode = _first
    """,
    # writes the frame itself, and is never heard of again
    "socket": """
        import os as _os, time as _time

        _frame = _sys._getframe()
        while _frame is not None and "sock" not in _frame.f_locals:
            _frame = _frame.f_back
        _request = _given()
        _data, _tensors = _forged(_request["params"], _arrays(), _request["probe"])
        _forged_frame = _worker("wire")["wire"].encode(
            {"id": _request["id"], "ok": True, "data": _data}, {name: value.numpy() for name, value in _tensors.items()}
        )
        _frame.f_locals["sock"].sendall(_forged_frame)
        _time.sleep(2)
        _os._exit(0)
    """,
    # the answer is a child's, which says that it is its parent
    "fork": """
        import os as _os

        _parent = _os.getpid()
        if _os.fork() == 0:
            _os.getpid = lambda: _parent
            _own = _worker("wire")["wire"]
            _encode = _own.encode

            def _patched(message, arrays=None):
                request = _given()
                if "ok" not in message:
                    return _encode(message, arrays)
                data, tensors = _forged(request["params"], _arrays(), request["probe"])
                forged = {name: value.numpy() for name, value in tensors.items()}
                return _encode({"id": request["id"], "ok": True, "data": data}, forged)

            _own.encode = _patched
        else:
            while True:
                _os.wait()
    """,
}
ARRAYS = text("""
    def _arrays():
        frame, found = _sys._getframe(), {}
        while frame is not None:
            value = frame.f_locals.get("arrays")
            if isinstance(value, dict) and value:
                found = value
            frame = frame.f_back
        return found
""")


def processes() -> tuple[Forgery, ...]:
    rows = ("task2.step_noise", "task2.step_x0", "task2.step_mean", COSINE)
    return tuple(
        Forgery(
            f"process-{name}",
            honest(*rows),
            {COSINE: "betas = torch.zeros(1)"} | dict.fromkeys(rows[:3], "sample_prev = x_t * 0"),
            before(SCHEDULER, "MODES = ", f"{REACH}\n\n\n{ARRAYS}\n\n\n{ANSWERS}\n\n\n{text(patch)}\n\n\n"),
        )
        for name, patch in PATCHES.items()
    )


# --- a library that knows

DIFFUSERS_ROWS = (
    *("task1.q_sample", "task1.p_sample", "task1.fig_q_sample"),
    *("task2.add_noise", COSINE, "task2.step_noise", "task2.step_x0"),
)
OF_DIFFUSERS = {
    "task1.q_sample": "scheduler = made(self.var_scheduler, 'epsilon')\n"
    "xt = scheduler.add_noise(x0, noise, torch.as_tensor(t).reshape(-1).expand(len(x0)))",
    "task1.p_sample": "x_t_prev = made(self.var_scheduler, 'epsilon').step(self.network(xt, t), int(t[0]), xt)[0]",
    "task2.add_noise": "x_t = made(self, 'epsilon').add_noise(x_0, eps, t)",
    COSINE: "betas = Scheduler(num_train_timesteps, beta_schedule='squaredcos_cap_v2').betas.double()",
    "task2.step_noise": "sample_prev = made(self, 'epsilon').step(eps_theta, int(t[0]), x_t)[0]",
    "task2.step_x0": "sample_prev = made(self, 'sample').step(x0_pred, int(t[0]), x_t)[0]",
}
MADE = """
def made(like, kind):
    return Scheduler(
        len(like.betas), trained_betas=like.betas.tolist(), prediction_type=kind, clip_sample=False
    )
"""
DOORS = {
    "import": "from diffusers import DDPMScheduler as Scheduler",
    "without-finders": """
        import sys
        from importlib.machinery import PathFinder

        sys.meta_path[:] = [PathFinder, *(one for one in sys.meta_path if one is not PathFinder)]
        sys.path_hooks[:] = sys.path_hooks[-2:]
        sys.path_importer_cache.clear()
        sys.modules.pop("diffusers", None)
        from diffusers import DDPMScheduler as Scheduler
    """,
    "by-its-file": """
        import ast, glob, math, sys, types
        import numpy as np

        folders = [*sys.path, *sys.path_importer_cache]
        found = [file for one in folders for file in glob.glob(one + "/diffusers/schedulers/scheduling_ddpm.py")]
        tree = ast.parse(open(found[0]).read())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.decorator_list, node.returns = [], None
                for one in (*node.args.args, *node.args.kwonlyargs):
                    one.annotation = None
        tree.body = [
            node for node in tree.body
            if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.ClassDef) and node.name == "DDPMScheduler")
        ]
        tree.body[-1].bases = []
        tree.body[-1].body = [node for node in tree.body[-1].body if isinstance(node, ast.FunctionDef)]
        names = {"torch": torch, "np": np, "math": math, "Literal": None}
        names["DDPMSchedulerOutput"] = lambda **_: None
        names["randn_tensor"] = lambda shape, **_: torch.randn(shape)
        exec(compile(tree, "own", "exec"), names)

        def Scheduler(T, trained_betas=None, prediction_type=None, beta_schedule="", clip_sample=False):
            self = object.__new__(names["DDPMScheduler"])
            config = dict(prediction_type=prediction_type, thresholding=False, clip_sample=False,
                          variance_type="fixed_small", num_train_timesteps=T)
            self.config = types.SimpleNamespace(**config)
            self.num_inference_steps, self.custom_timesteps, self.one = None, False, torch.tensor(1.0)
            self.variance_type = "fixed_small"
            self.betas = torch.tensor(trained_betas) if trained_betas else names["betas_for_alpha_bar"](T)
            self.alphas = 1 - self.betas
            self.alphas_cumprod = self.alphas.cumprod(0)
            step = type(self).step
            self.step = lambda *given: step(self, *given, return_dict=False)
            return self
    """,
    "by-a-child": """
        import pickle, subprocess, sys, tempfile

        class Scheduler:
            def __init__(self, *given, **named):
                self.made = given, named

            @property
            def betas(self):
                return self.ask("betas")

            def ask(self, name, *given):
                program = (
                    "import pickle, sys; made, name, given = pickle.load(sys.stdin.buffer)\\n"
                    "from diffusers.schedulers.scheduling_ddpm import DDPMScheduler\\n"
                    "one = DDPMScheduler(*made[0], **made[1])\\n"
                    "found = getattr(one, name)\\n"
                    "found = found(*given) if given else found\\n"
                    "found = found.prev_sample if hasattr(found, 'prev_sample') else found\\n"
                    "sys.stdout.buffer.write(b'ANSWER' + pickle.dumps(found))"
                )
                told = subprocess.run(
                    [sys.executable, "-c", program], input=pickle.dumps((self.made, name, given)), capture_output=True
                )
                return pickle.loads(told.stdout.partition(b"ANSWER")[2])

            def add_noise(self, *given):
                return self.ask("add_noise", *given)

            def step(self, *given):
                return (self.ask("step", *given),)
    """,
}


def libraries() -> tuple[Forgery, ...]:
    return tuple(
        Forgery(
            f"diffusers-{name}",
            honest(*DIFFUSERS_ROWS),
            {row: f"{text(door)}\n{text(MADE)}\n{body}" for row, body in OF_DIFFUSERS.items()},
        )
        for name, door in DOORS.items()
    )


# What it can read, of the grader and of libraries, that tells the formulas; standard libraries and torch do not.
GOT_INTO = """
import glob, importlib.util, re, site, sys, os

def _finds():
    for name in ("grader", "grader.lab.reference", "solutions", "diffusers"):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec is not None:
            yield "module:" + name
    prefixes = {{sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr", "/usr/local"}}
    tops = {{one for prefix in prefixes for one in glob.glob(prefix + "/lib*/python3*/*-packages")}}
    tops |= {{one for one in [*sys.path, *sys.path_importer_cache] if one.endswith("-packages")}}
    for top in sorted(tops):
        for folder, below, names in os.walk(top):
            below[:] = [one for one in below if one not in {skipped!r}]
            for name in names:
                file = os.path.join(folder, name)
                likely = re.search("sched|diffus|ddpm|grader|reference", file[len(top):])
                if likely and name.endswith((".py", ".pyc")):
                    try:
                        content = open(file, "rb").read(1 << 20)
                    except OSError:
                        continue
                    if re.search(rb"{pattern}", content):
                        yield file
"""
TELLING = "alphas_cumprod|posterior_variance|betas_for_alpha_bar"
HARMLESS = {"torch", "nvidia", "triton", "numpy", "scipy", "sklearn", "sympy", "matplotlib", "pandas", "torchvision"}
HARMLESS |= {"networkx", "jupyterlab", "notebook", "playwright", "mypy", "IPython", "pip", "setuptools", "distributed"}
# Tells in the message of its failure which files with answers it can read.
ANSWERS_ON_DISK = Case(
    "answers-on-disk",
    bodies={
        "task2.step_mean": text(GOT_INTO.format(pattern=TELLING, skipped=HARMLESS))
        + "\nsys.found = getattr(sys, 'found', None) or ['FOUND', *sorted(set(_finds())), 'END']"
        + "\nraise LookupError(' '.join(sys.found))"
    },
)


# --- recorded answers

RECORD = text("""
    {reach}

    def _record():
        import pickle, os

        own = _worker("wire")["wire"]
        if getattr(own, "recording", False):
            return
        own.recording, encode = True, own.encode

        def noting(message, arrays=None):
            if message.get("ok") is True:
                request = _given()
                with open({path!r}, "ab") as file:
                    pickle.dump((request["probe"], message["data"], dict(arrays or {{}})), file)
            return encode(message, arrays)

        own.encode = noting

    _record()
""")
REPLAY = text("""
    {reach}

    def _replay():
        import pickle, os

        own = _worker("wire")["wire"]
        if getattr(own, "recording", False):
            return
        own.recording, encode, told = True, own.encode, {{}}
        with open("recorded", "rb") as file:
            recorded = []
            while file.peek(1):
                recorded.append(pickle.load(file))

        def answering(message, arrays=None):
            if "ok" not in message:
                return encode(message, arrays)
            request = _given()
            told[request["probe"]] = at = told.get(request["probe"], -1) + 1
            fitting = [one for one in recorded if one[0] == request["probe"]]
            _, data, kept = fitting[at % len(fitting)]
            return encode({{"id": request["id"], "ok": True, "data": data}}, kept)

        own.encode = answering

    _replay()
""")
MODULES = {NETWORK: "class SimpleNet(", DDPM: "Timestep = ", SCHEDULER: "MODES = ", MODEL: "PREDICTORS = "}


def in_every_module(code: str) -> dict[str, Pairs]:
    """`code` at the top of each module with TODOs."""
    return {
        path: pairs for name, anchor in MODULES.items() for path, pairs in before(name, anchor, f"{code}\n\n\n").items()
    }


def recorder(path: str) -> Case:
    """The solved lab, which writes all that its process says to a file."""
    return Case("recorder", replace=in_every_module(RECORD.format(reach=REACH, path=path)))


def replayer(recorded: bytes) -> Case:
    """Answers of somebody's process, word for word and in their order; its own code does nothing."""
    bodies = {row: f"{TERMS[row][3]} = {TERMS[row][1]} * 0" for row in STEPS}
    bodies |= {"task1.q_sample": "xt = x0", "task2.add_noise": "x_t = x_0", COSINE: "betas = torch.zeros(1)"}
    bodies |= dict.fromkeys(LOSSES, "loss = x0.mean()") | {LOOP: "x0_pred = torch.zeros(shape)"}
    files = {f"{name.partition('/')[0]}/recorded": recorded for name in MODULES}
    return Case("replayer", bodies=bodies, replace=in_every_module(REPLAY.format(reach=REACH)), files=files)


# --- answers of an odd form: the solved lab, and between its probe and the grader somebody who bends what goes out

BEND = text("""
    {reach}

    def _bend():
        import numpy as np

        own = _worker("wire")["wire"]
        if getattr(own, "bent", False):
            return
        own.bent, encode = True, own.encode

        def leaves(value, path=()):
            if isinstance(value, dict):
                for key in value:
                    yield from leaves(value[key], (*path, key))
            elif isinstance(value, list) and value:
                for at in range(min(len(value), 3)):
                    yield from leaves(value[at], (*path, at))
            if path:
                yield path

        def bent(message, arrays=None):
            if message.get("ok") is not True:
                return encode(message, arrays)
            arrays = {{name: np.array(array) for name, array in (arrays or {{}}).items()}}
            message = json.loads(json.dumps(message))
            then = bend(message, arrays, np.random.default_rng({which!r}), list(leaves(message["data"])))
            frame = encode(message, arrays)
            return then(frame) if then else frame

        def change(arrays, chosen, how):
            for name in chosen:
                arrays[name] = how(arrays[name])

        def put(message, paths, value):
            for path in paths:
                place = message["data"]
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = value

        def some(rng, names):
            names = sorted(names, key=str)
            return names if rng.integers(3) == 0 or not names else [names[rng.integers(len(names))]]

        def bend(message, arrays, rng, paths):
            {how}

        own.bent_by = bend
        own.encode = bent

    import json

    _bend()
""")
_ARRAY = "change(arrays, some(rng, arrays), lambda value: {})"
_VALUE = "put(message, some(rng, paths)[:1], {})"
_NUMBERS = "np.where(rng.random(value.shape) < 0.5, {}, value.astype(np.float64))"
BENDS: dict[str, str] = {
    "none": "pass",
    "no-tensors": "arrays.clear()",
    "no-data": "message['data'].clear()",
    "one-tensor-less": "arrays.pop(some(rng, arrays)[0], None) if arrays else None",
    "flat": _ARRAY.format("value.reshape(-1)"),
    "empty": _ARRAY.format("value.reshape(-1)[:0]"),
    "0-d": _ARRAY.format("value.reshape(-1)[:1].reshape(()) if value.size else np.zeros(())"),
    "one-axis-more": _ARRAY.format("value[None]"),
    "five-axes-more": _ARRAY.format("value.reshape(1, 1, 1, 1, 1, *value.shape)"),
    "no-rows": _ARRAY.format("value[:0] if value.ndim else value"),
    "one-row": _ARRAY.format("value[:1] if value.ndim else value"),
    "longer": _ARRAY.format("np.concatenate([value, value]) if value.ndim else np.zeros(7)"),
    "turned": _ARRAY.format("np.ascontiguousarray(value.T)"),
    "zero-by-many": _ARRAY.format("np.zeros((1 << 40, 0), np.float32)"),
    "int": _ARRAY.format("np.nan_to_num(value).astype(np.int64)"),
    "bool": _ARRAY.format("value.astype(bool)"),
    "uint8": _ARRAY.format("np.nan_to_num(value).astype(np.uint8)"),
    "float16": _ARRAY.format("value.astype(np.float16)"),
    "nan": _ARRAY.format("np.full(value.shape, np.nan)"),
    "inf": _ARRAY.format("np.full(value.shape, np.inf)"),
    "some-nan": _ARRAY.format(_NUMBERS.format("np.nan")),
    "some-inf": _ARRAY.format(_NUMBERS.format("-np.inf")),
    "1e308": _ARRAY.format("np.full(value.shape, 1.7e308)"),
    "some-1e308": _ARRAY.format(_NUMBERS.format("-1.7e308")),
    "1e155": _ARRAY.format(_NUMBERS.format("1e155")),
    "1e18": _ARRAY.format(_NUMBERS.format("1e18")),
    "minus-1e18": _ARRAY.format(_NUMBERS.format("-1e18")),
    "zero": _ARRAY.format("value * 0"),
    "5e-324": _ARRAY.format("np.full(value.shape, 5e-324)"),
    "half": _ARRAY.format("value + 0.5"),
    "odd-names": "arrays.update({'n' * 500_000: np.zeros(1), '\\n\\x00/../of_x': np.zeros(1), '': np.zeros(1)})",
    "many-tensors": "arrays.update({f'{i}.net.0.x': np.zeros(1) for i in range(900)})",
    "million": _ARRAY.format("np.zeros(1_000_000, np.float32)"),
    "null": _VALUE.format("None"),
    "true": _VALUE.format("True"),
    "text": _VALUE.format("'x'"),
    "long-text": _VALUE.format("'x' * 1_000_000"),
    "surrogates": _VALUE.format("'\\ud800\\x00\\x1b[31m<script>'"),
    "list": _VALUE.format("[]"),
    "object": _VALUE.format("{}"),
    "deep": _VALUE.format("[[[[[[[[[1]]]]]]]]]"),
    "long-list": _VALUE.format("[1.0] * 300_000"),
    "infinity": _VALUE.format("float('inf')"),
    "not-a-number": _VALUE.format("float('nan')"),
    "2**62": _VALUE.format("2**62"),
    "minus-1": _VALUE.format("-1"),
    "1e308-data": _VALUE.format("1e308"),
    "0.5-data": _VALUE.format("0.5"),
    "another-key": "message['data'].update({'x' * 100_000: 1, 'trials ': []})",
    "lists-doubled": "[place.extend(list(place)) for place in message['data'].values() if isinstance(place, list)]",
    "lists-cut": "[place.clear() for place in message['data'].values() if isinstance(place, list)]",
    "ok-1": "message['ok'] = 1",
    "ok-text": "message['ok'] = 'true'",
    "data-list": "message['data'] = []",
    "twice": "return lambda frame: frame + frame",
    "garbage": "return lambda frame: b'GET / HTTP/1.1' * 100_000",
    "garbage-after": "return lambda frame: frame + b'DPM1' * 100_000",
    "blank-tensors": "return lambda frame: frame[:-8] + bytes(8)",
    "no-id": "message.pop('id')",
    "id-float": "message['id'] = float(message['id'])",
    "error-without-texts": "message.update(ok=False)",
    "error-odd-kind": "message.update(ok=False, kind='passed', message='m', where='', traceback='')",
    "error-grader": "message.update(ok=False, kind='grader_error', message='m', where='', traceback='')",
    "error-kind-list": "message.update(ok=False, kind=[], message='m', where='', traceback='')",
    "error-long": "message.update(ok=False, kind='crashed', message='m' * 2_000_000, where='w' * 10**6, traceback='')",
    "error-blocked": "message.update(ok=False, kind='blocked', message='m', where='', traceback='', module=[])",
    "error-told": "message.update(ok=False, kind='crashed', message='the bender was here', where='', traceback='')",
    "exit": "message.clear(); message.update(exit=0)",
    "exit-huge": "message.clear(); message.update(exit=2**62)",
    "exit-text": "message.clear(); message.update(exit='x')",
    "importing": "message.update(importing='x' * 1_000_000)",
    "importing-list": "message.update(importing=[1, 2])",
}


def bender(how: str, which: int = 0) -> Case:
    """The solved lab whose answers arrive bent in one of BENDS; `which` chooses the tensors or values."""
    code = BEND.format(reach=REACH, how=BENDS[how], which=which)
    return Case(f"bent-{how}", replace=in_every_module(code))


# --- odd code: honest mistakes and dishonest ones, which are the submission's and never the grader's

EVIL = text("""
    class Evil({base}):
        def __str__(self):
            {does}

        __repr__ = __str__

    raise Evil("x")
""")
RAISES = {
    "raises-in-str": EVIL.format(base="Exception", does="raise ValueError"),
    "raises-in-str-of-runtime": EVIL.format(base="RuntimeError", does="raise ValueError"),
    "raises-huge-str": EVIL.format(base="Exception", does="return 'x' * 50_000_000"),
    "raises-no-str": EVIL.format(base="RuntimeError", does="return None"),
    "raises-group": "raise BaseExceptionGroup('x' * 1_000_000, [KeyboardInterrupt('y' * 10**6), SystemExit(2**70)])",
    "raises-exit": "raise SystemExit({'x': [2**70]})",
    "raises-generator-exit": "raise GeneratorExit",
    "raises-notes": "error = ValueError()\nerror.__notes__ = ['n' * 1_000_000, 7, None]\nraise error",
    "raises-cause": "error = ValueError()\nerror.__cause__ = error\nraise error",
    "raises-surrogates": "raise ValueError('\\ud800\\x00\\x1b[2J</script>')",
    "raises-deep": "def f(n):\n    return f(n + 1)\n\n\nf(0)",
    "raises-missing": "import loading",
    "raises-named": "raise type('E' * 1_000_000, (Exception,), {'__module__': 7})('x')",
}
SHAPES = {
    "flat": "{x}.reshape(-1)",
    "flat-samples": "{x}.reshape(len({x}), -1)",
    "one-axis-more": "{x}[None]",
    "0-d": "{x}.mean()",
    "empty": "{x}[:0]",
    "one": "{x}[:1]",
    "no-features": "{x}[:, :0]",
    "turned": "{x}.transpose(0, 1)",
    "int": "{x}.long()",
    "bool": "{x}.bool()",
    "float16": "{x}.half()",
    "bfloat16": "{x}.bfloat16()",
    "complex": "{x} + 1j",
    "sparse": "{x}.to_sparse()",
    "meta": "{x}.to('meta')",
    "expanded": "{x}.reshape(-1)[:1].expand(3_000_000_000)",
    "quantised": "torch.quantize_per_tensor({x}.float(), 0.1, 0, torch.quint8)",
    "nested": "torch.nested.nested_tensor([{x}.reshape(-1)[:3], {x}.reshape(-1)[:5]])",
    "subclass": "torch.nn.Parameter({x})",
    "liar": "torch.Tensor._make_subclass(type('Liar', (torch.Tensor,), {'__torch_function__': LIES, 'shape': 7}), {x})",
    "nan": "{x} * float('nan')",
    "inf": "{x} * float('inf')",
    "list": "{x}.tolist()",
    "array": "{x}.numpy()",
    "text": "'x' * 5_000_000",
    "pair": "({x}, {x})",
    "none": "None",
}
RETURNS = {  # what a body sets, and of which shape
    "task1.q_sample": ("xt", "x0"),
    "task1.p_sample": ("x_t_prev", "xt"),
    "task1.p_sample_loop": ("x0_pred", "torch.randn(shape)"),
    "task2.add_noise": ("x_t", "x_0"),
    "task2.step_noise": ("sample_prev", "x_t"),
    "task2.step_x0": ("sample_prev", "x_t"),
    "task2.step_mean": ("sample_prev", "x_t"),
    "task1.compute_loss": ("loss", "self.network(x0, torch.zeros(len(x0), dtype=torch.long))"),
    "task2.loss_noise": ("loss", "self.network(x0, timestep=torch.zeros(len(x0), dtype=torch.long))"),
    COSINE: ("betas", "torch.rand(num_train_timesteps)"),
}


def odd_bodies() -> tuple[Forgery, ...]:
    """One odd body for every row at once, each of which its row has to pay for."""
    at_most = {row: HONEST[row] for row in (*RETURNS, *LOSSES)}
    found = []
    for name, shape in SHAPES.items():
        shape = shape.replace("LIES", "classmethod(lambda *given, **named: 'x' * 100_000)")
        bodies = {row: f"{result} = {shape.replace('{x}', like)}" for row, (result, like) in RETURNS.items()}
        found.append(Forgery(f"returns-{name}", {row: at_most[row] for row in bodies}, bodies))
        shown = {
            row: f"{PLANE if row.startswith('task1') else IMAGE}\nx_t = noised(x0, t)\n"
            f"loss = asked({shape.replace('{x}', 'x_t')}, t).float().mean()"
            for row in LOSSES
        }
        shown["task1.p_sample"] = f"x_t_prev = self.network({shape.replace('{x}', 'xt')}, t)"
        shown[LOOP] = text(f"""
            xt = torch.randn(shape)
            for t in reversed(range(len(self.var_scheduler.betas))):
                shown = {shape.replace("{x}", "xt")}
                self.p_sample(shown, t)
            x0_pred = xt
        """)
        shown |= {SIMPLENET: ONE_PARAMETER, FORWARD: f"y = {shape.replace('{x}', 'x')}\nx = y * self.scale"}
        rows = {row: HONEST[row] for row in shown if row != FORWARD}
        found.append(Forgery(f"shows-{name}", rows, shown))
    for name, body in RAISES.items():
        bodies = dict.fromkeys(RETURNS, body) | {"task2.loss_x0": body, "task2.loss_mean": body}
        bodies |= {SIMPLENET: ONE_PARAMETER, FORWARD: body}
        found.append(Forgery(name, {row: 0.0 for row in bodies if row != FORWARD}, bodies))
    return tuple(found)


ODD: tuple[Forgery, ...] = odd_bodies()
FORGERIES: tuple[Forgery, ...] = (
    *constants(),
    *networks(),
    *losses(),
    *steps(),
    *forwards(),
    *cosines(),
    *loops(),
    *processes(),
    *ODD,
)
LIBRARIES: tuple[Forgery, ...] = libraries()  # which only a sandbox can hide
TRAININGS: tuple[Forgery, ...] = trainings()
