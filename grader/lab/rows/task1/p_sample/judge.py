"""Judges p_sample: the reverse step of the 2D half, which asks its network itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from grader.judging.bench import Bench, Judgement
from grader.judging.border import Tensor
from grader.judging.comparison import Arrays
from grader.lab.shared.reverse import Asked, Inputs, Shown, Step, StepObservation, judge_step, step_answer
from grader.lab.shared.stand_in import draw_network, network_output

POINTS = (16384, 2)


def judge(bench: Bench) -> Judgement:
    return judge_step(bench, Step("p_sample", "noise", POINTS, _ask))


def _ask(bench: Bench, params: dict[str, Any], given: Inputs, seen: StepObservation) -> Asked:
    network = draw_network(bench, POINTS[1])
    forms = {"forms": ["int", "[1]", "[B]", "0-d"]}  # the first are those that the lab's own loops use
    shown_to_network = {"net.0.x": Tensor(), "net.0.t": Tensor()}
    expects = step_answer(POINTS) | shown_to_network
    answer = bench.ask("p_sample", params | forms, {"x": given.xt} | network, expects=expects)
    shown = seen.shown[given.t] = _shown(answer.arrays, given)
    zeros = np.zeros_like(given.xt)
    # At the t that it was asked at: another one than t costs the mean alone, not the noise.
    zero_out = network_output(network, zeros, float(np.nan_to_num(shown.t, nan=given.t)))
    return Asked(answer, network_output(network, given.xt, given.t) - network_output(network, zeros, given.t), zero_out)


def _shown(tensors: Arrays, given: Inputs) -> Shown:
    x, t = (tensors.get(f"net.0.{name}", np.empty(0)) for name in ("x", "t"))
    is_x_t = x.shape == given.xt.shape and np.allclose(x, given.xt, atol=1e-6)
    return Shown(float(t.flat[0]) if t.size else float("nan"), is_x_t)
