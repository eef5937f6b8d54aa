"""Images per second of both loops at three batch sizes, by the lab's own benchmark, and their share of the peak.

The peak is what a product of large matrices reached on this card, in the same run; the data sheet's stands beside it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from grader.tools.gpu.record import rows
from grader.tools.gpu.scripts import ScriptFailed, run_script
from grader.tools.gpu.session import Session

SIZES = (16, 64, 250)
KEPT_S = 60.0  # for each batch size that is still to come
TRIAL = {"small": True, "jpeg_size": 16, "timesteps": 2, "seconds": 0.01, "rounds": 1, "workers": 0}


def run(session: Session) -> None:
    sizes = (2, 3) if session.settings.trial else SIZES
    how = TRIAL if session.settings.trial else {"rounds": 4}
    found: dict[str, Any] = {"rows": [], "problems": {}}
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate(sizes, 1):
            session.say(f"batches of {size}")
            file = Path(folder, f"{size}.json")
            seconds = session.left() - KEPT_S * (len(sizes) - number) - 5
            asked = how | {"device": session.settings.device, "batch_sizes": size, "json": file}
            try:
                said = run_script(Path(folder, "cache"), "benchmark.py", asked, max(1.0, seconds))
                found["problems"] |= _problems(size, said)
            except ScriptFailed as error:
                found["problems"][str(size)] = str(error)
            if file.is_file():
                one = json.loads(file.read_text(encoding="utf-8"))
                found |= one | {"rows": found["rows"] + one["rows"]}
            session.note(**found)
            measured = [row for row in found["rows"] if row["batch"] == size and None not in row.values()]
            session.check(
                f"both loops ran with batches of {size}", len(measured) == 2, f"{len(measured)} of 2 measured"
            )


def _problems(size: int, said: str) -> dict[str, str]:
    """What the benchmark says where it goes on without something."""
    lines = [line for line in said.splitlines() if "not compiled" in line or "out of memory" in line]
    return {str(size): "; ".join(lines)} if lines else {}


def table(values: dict[str, Any]) -> list[str]:
    peak = values["measured_peak"]
    lines = [
        f"Default loop on {values['plan']}. Peak {peak / 1e12:.4g} TFLOP/s, a matrix product measured in the same run "
        f"({values['peak'] / 1e12:.4g}: {values['peak_source']}). An image takes {values['flops_forward'] / 1e9:.1f} "
        "GFLOP forwards and three times that in training; sampling is of 1,000 steps.",
        "",
        *rows(["", "batch", "plain, images/s", "default, images/s", "ratio", "of peak: plain", "default"]),
    ]
    for row in values["rows"]:
        plain, default = row["plain"], row["default"]
        ratio = default / plain if plain and default else None
        shares = [f"{rate * row['flops'] / peak:.1%}" if rate else None for rate in (plain, default)]
        lines += rows([row["what"], row["batch"], plain, default, ratio, *shares], head=False)
    return [*lines, *(f"\nBatches of {size}: {problem}" for size, problem in values["problems"].items())]
