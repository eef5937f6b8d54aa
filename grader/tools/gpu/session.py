"""What a part is given: its settings, and where it notes what it finds."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.files import write_atomically


@dataclass(frozen=True)
class Settings:
    """What was asked for. `trial` is for tests of this command: tiny sizes, on the CPU."""

    out: str  # the path of gpu.json
    data: str | None = None  # a folder of images
    minutes: float = 5.0  # of training
    sandbox: str = "bubblewrap"
    trial: bool = False
    limit_s: float = 540.0

    @property
    def device(self) -> str:
        return "cpu" if self.trial else "cuda"


@dataclass
class Session:
    """A part's run. Whatever is noted is written at once: it stays where the part is stopped."""

    settings: Settings
    file: Path
    values: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def note(self, **values: Any) -> None:
        """Values for the record: JSON."""
        self.values |= values
        self._write()

    def check(self, what: str, met: bool, got: Any) -> None:
        """Something that has to be so; where it is not, the part has failed, and goes on."""
        self.checks.append({"what": what, "met": bool(met), "got": str(got)})
        self.say(f"{'met' if met else 'NOT MET'}: {what}: {got}")
        self._write()

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"  {time.monotonic() - self.began:5.0f} s  {text}", file=sys.stderr, flush=True)

    def left(self) -> float:
        """Seconds until the part is stopped."""
        return max(0.0, self.began + self.settings.limit_s - time.monotonic())

    def _write(self) -> None:
        write_atomically(self.file, json.dumps({"values": self.values, "checks": self.checks}, default=str))
