"""How alike independent right answers are, and copies with renamed variables: the readings behind the class page."""

from __future__ import annotations

import re
import tempfile
from itertools import combinations
from pathlib import Path

from grader.lab import LAB
from grader.lab.catalogue import variants
from grader.submission.similarity import LEAST, fingerprints, shared
from grader.tools.builder import write

COPIES = 5


def main() -> int:
    """Print the readings; 1 where LEAST does not tell the two kinds apart."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {case.name: write(case, Path(scratch)) for case in variants()}
        prints = {name: fingerprints(halves(folder), LAB) for name, folder in folders.items()}
        apart = sorted(shared(prints[a], prints[b]) for a, b in combinations(prints, 2))
        alike = []
        for name, folder in list(folders.items())[:COPIES]:
            rename_variables(folder)
            alike.append(shared(prints[name], fingerprints(halves(folder), LAB)))
    print(
        f"{len(apart)} pairs of independent right submissions: {apart[0]:.2f} to {apart[-1]:.2f}, "
        f"median {apart[len(apart) // 2]:.2f}, the highest five {', '.join(f'{share:.2f}' for share in apart[-5:])}"
    )
    print(
        f"{len(alike)} copies with renamed variables: {min(alike):.2f} to {max(alike):.2f}; the least to be shown: "
        f"{LEAST}"
    )
    return 0 if max(apart) < LEAST < min(alike) else 1


def halves(submission: Path) -> dict[str, Path]:
    """The folders of a built submission."""
    return {half.key: submission / half.folder for half in LAB.halves}


def rename_variables(submission: Path) -> None:
    """What somebody does who hands in another's code."""
    for file in [file for half in LAB.halves for file in (submission / half.folder).glob("*.py")]:
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"\b(xt|x0|x_t|noise|eps|beta|alpha|mean|loss)\b", r"my_\1", text), "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
