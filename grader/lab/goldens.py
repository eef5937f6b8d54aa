"""Golden files: arrays that are stored with what made them, rebuilt and compared by one command.

    python -m grader.lab.goldens            rebuild all of them and show how far each array moved
    python -m grader.lab.goldens --check    show the differences only; exit 1 where there are any

Students see these files, as their own checks read them; what is graded is drawn anew.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

FOLDER = Path(__file__).parent / "edition"
CONTENTS = ("golden_public", "golden_companions_plane")  # modules of this package, each with its GOLDEN
SAME = 1e-12  # differences of a rebuild that other versions of numpy may cause
COMMAND = "python -m grader.lab.goldens"


@dataclass(frozen=True)
class GoldenFile:
    """A file of arrays, and how it is made; the record that stands beside it says so to a reader."""

    arrays: Path  # an .npz
    make: Callable[[], Arrays]
    describe: Callable[[], dict[str, Any]]

    @property
    def record(self) -> Path:
        return self.arrays.with_suffix(".json")

    def read(self) -> Arrays:
        """The stored arrays, by name."""
        return dict(np.load(self.arrays, allow_pickle=False))

    def described(self) -> dict[str, Any]:
        """What the record is to say."""
        return {"maker": COMMAND, **self.describe(), "numpy": np.__version__}

    def differences(self, new: Arrays) -> dict[str, float]:
        """Largest absolute difference of each array from the stored one; inf where shape or name is new."""
        old = self.read() if self.arrays.exists() else {}
        return {name: _difference(new.get(name), old.get(name)) for name in sorted(new.keys() | old.keys())}

    def write(self, new: Arrays) -> None:
        np.savez(self.arrays, **new)  # type: ignore[arg-type]  # the stub takes the names for options
        self.record.write_text(json.dumps(self.described(), indent=1) + "\n", encoding="utf-8")


def _difference(new: NDArray[Any] | None, old: NDArray[Any] | None) -> float:
    if new is None or old is None or new.shape != old.shape:
        return float("inf")
    return float(np.abs(new.astype(float) - old).max(initial=0.0))


def golden_files() -> list[GoldenFile]:
    """Those of this lab."""
    return [importlib.import_module(f"{__package__}.{name}").GOLDEN for name in CONTENTS]


def main(argv: Sequence[str] | None = None, files: Sequence[GoldenFile] | None = None) -> int:
    """Rebuild or check the golden files."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a number differs")
    check = parser.parse_args(argv).check
    largest = 0.0
    for golden in golden_files() if files is None else files:
        new = golden.make()
        moved = golden.differences(new)
        print(golden.arrays.name)
        for name, difference in moved.items():
            print(f"  {name:28} {new[name].shape if name in new else 'gone'!s:14} largest difference {difference:.3g}")
        largest = max(largest, *moved.values())
        if not check:
            golden.write(new)
    return int(check and not largest <= SAME)


if __name__ == "__main__":
    raise SystemExit(main())
