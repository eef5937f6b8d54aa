"""The parts, in the order in which they run: what says most about the card for the least time comes first."""

from __future__ import annotations

from grader.tools.gpu.record import Part

PARTS = {
    part.name: part
    for part in (
        Part("tests", "the tests marked gpu", f"{__name__}.tests"),
        Part("speed", "training and sampling, plain against default, and their share of the peak", f"{__name__}.speed"),
        Part("train", "the full 64x64 model for some minutes, and its samples", f"{__name__}.train"),
        Part("fid", "FID on the card against the CPU", f"{__name__}.fid"),
        Part("grade", "grade --gpu and --fid retrain of the solved lab", f"{__name__}.grade", private=True),
        Part("memory", "limits of memory beside CUDA", f"{__name__}.memory", private=True),
    )
}
