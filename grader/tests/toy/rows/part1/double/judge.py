"""Judges double: y = 2 x."""

from dataclasses import dataclass
from pathlib import Path

from grader.judging.bench import Bench, Judgement, Observation
from grader.judging.border import Expects, Tensor
from grader.judging.comparison import Array, off, take
from grader.judging.findings import judged
from grader.records import Finding

EQUATION = "y = 2 x"


@dataclass
class DoubleObservation(Observation):
    """Numbers, and what came back for them; shapes (N,)."""

    x: Array
    y: Array | None = None

    def draw(self, folder: Path) -> list[str]:
        if self.y is None:
            return []
        from PIL import Image

        Image.new("RGB", (len(self.y), 8), "navy").save(folder / "double.png")
        return ["double.png"]


def judge(bench: Bench) -> Judgement:
    x = bench.normal(32)
    seen = DoubleObservation(x.astype(float))

    def value() -> Finding | None:
        answer = bench.ask("double", {"seed": bench.seed()}, {"x": x}, expects=Expects({"y": Tensor(x.shape)}))
        seen.y, malformed = take(answer, "y", x.shape, "double(x)")
        if seen.y is None:
            return malformed
        wrong = off(seen.y, 2 * seen.x)
        return Finding("double(x)", "2 x", wrong, "double", EQUATION) if wrong else None

    return Judgement([judged("value", 5.0, value)], [seen])
