"""How long a class takes into the gradebook: `python -m grader.desk.benchmark [URL]` measures 300 made-up results.

Without a URL it is SQLite; a PostgreSQL URL has to name a database that holds nothing yet.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from grader.desk.course import Course, without_password
from grader.desk.gradebook import write_class
from grader.labs import COURSE, RubricRow, named
from grader.records import Check, Result, Row, Verdict

SEED = 7
FIGURE = "figure.png"


def main() -> None:
    """Measure and print: a first writing, one that changes nothing, and a regrade of everybody."""
    parser = argparse.ArgumentParser(description="how long a class takes into the gradebook")
    parser.add_argument("url", nargs="?", help="of an empty database (default: SQLite)")
    parser.add_argument("--students", type=int, default=300, metavar="N")
    parser.add_argument("--lab", default=COURSE, metavar="PACKAGE", help="(default: %(default)s)")
    options = parser.parse_args()
    lab = named(options.lab)
    with tempfile.TemporaryDirectory(prefix="ddpm-grader-") as folder:
        out = Path(folder)
        course = Course.of(out, options.url, lab)
        print(f"{options.students} students, {len(lab.rubric)} rows each, into {without_password(course.url)}")
        for what, points in (("first writing", 0.0), ("nothing changed", 0.0), ("everybody graded again", 0.5)):
            results = [_result(number, points, lab.rubric) for number in range(options.students)]
            for result in results:
                (out / result.id).mkdir(exist_ok=True)
                (out / result.id / "result.json").write_text(result.to_json(), encoding="utf-8")
                _draw(out / result.id / FIGURE)
            began = time.perf_counter()
            count = write_class(course, results)
            print(f"{what:<24}{count:>4} written in {time.perf_counter() - began:6.1f} s", flush=True)


def _result(number: int, points: float, rubric: tuple[RubricRow, ...]) -> Result:
    rows = [
        Row(row.id, row.points, Verdict.NEEDS_REVIEW)
        if not row.is_code
        else Row.from_checks(
            row.id,
            row.points,
            [Check("values", Verdict.PARTIAL, points, row.points, "expected: 1\ngot: 2\n" * 5)],
            evidence=[FIGURE] if row is rubric[0] else [],
        )
        for row in rubric
    ]
    return Result(f"4125{number:05d}", "0" * 64, "benchmark", SEED, "none", {}, rows)


def _draw(path: Path) -> None:
    """A picture of the size of a real figure, 100 kB."""
    import numpy as np
    from PIL import Image

    if not path.exists():
        noise = np.random.default_rng(SEED).integers(0, 255, (180, 185, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)


if __name__ == "__main__":
    main()
