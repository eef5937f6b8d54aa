"""Misconceptions about the noise-estimating network."""

from __future__ import annotations

from collections.abc import Callable

from grader.judging.diagnosis import about
from grader.lab.rows.task1.simplenet.judge import ROLES, NetworkObservation, Symptom


def _shows(symptom: Symptom) -> Callable[[NetworkObservation], bool]:
    return lambda seen: symptom in seen.symptoms


CATALOGUE = about(
    ROLES,
    (
        "network-returns-its-input",
        "forward() gives back x as it came",
        "Send x through the layers one after the other, each time with t, and return what the last one gives.",
        _shows(Symptom.RETURNS_INPUT),
    ),
    (
        "layers-not-registered",
        "the layers are not registered with the module",
        "Layers in a plain Python list are invisible to parameters(), and the optimiser never sees them: "
        "use nn.ModuleList or nn.Sequential.",
        _shows(Symptom.NO_PARAMETERS),
    ),
    (
        "network-not-finite",
        "the network's output is not finite at some t",
        "Look at what large t do before they reach a layer, and at exponentials, logarithms and divisions.",
        _shows(Symptom.NOT_FINITE),
    ),
    (
        "network-wrong-shape",
        "the network's output has another shape than its input",
        "The last layer leads to dim_out, and no axis may be added or lost when t has one value or B values.",
        _shows(Symptom.WRONG_SHAPE),
    ),
    (
        "time-ignored",
        "the network's output does not depend on t",
        "The same network serves all noise levels, so it must know t: use the time-conditioned layer that is given.",
        _shows(Symptom.IGNORES_T),
    ),
    (
        "input-ignored",
        "the network's output does not depend on x",
        "Follow x through forward(): somewhere its features are replaced instead of transformed.",
        _shows(Symptom.IGNORES_X),
    ),
    (
        "linear-network",
        "the network is linear in x: there is no activation between its layers",
        "Linear layers in a row are one linear layer. What has to stand between them?",
        _shows(Symptom.AFFINE),
    ),
    (
        "layer-unused",
        "some parameters never get a gradient",
        "A layer is built in __init__ but not used in forward(), or a step in between cuts the gradient off.",
        _shows(Symptom.NO_GRADIENT),
    ),
    (
        "activation-at-the-end",
        "the output passes through an activation",
        "Noise takes both signs and any size: what the last layer gives is the answer, as it is.",
        _shows(Symptom.ACTIVATION_AT_THE_END),
    ),
    (
        "network-does-not-learn",
        "the network does not learn a small problem",
        "It depends on x and t and gets gradients, but too little passes through: look at widths, dead "
        "activations and the size of what t adds.",
        _shows(Symptom.DOES_NOT_LEARN),
    ),
)
