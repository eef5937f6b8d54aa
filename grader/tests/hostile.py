"""Code and archives that attack the grader, and what is due for each: the damage stays with what does it."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grader.judging.made_up import before
from grader.lab.files import DDPM, MODEL, NETWORK, SCHEDULER, TASK1, TASK2
from grader.records import Verdict
from grader.tests.messy import Messy
from grader.tools.builder import build, pack

_FORGE = """
import json, os, struct
for fd in range(3, 256):
    for number in range(1, 200):
        text = json.dumps({"id": number, "ok": True, "data": {"form": "int", "rejected": []}}).encode()
        try:
            os.write(fd, b"DPM1" + struct.pack(">IQ", len(text), 0) + text)
        except OSError:
            break
sample_prev = x_t
"""

# One attack a row: infinite loop, end of the process, memory, processes, forged answers, a gigabyte of output.
STUBBORN = Messy(
    "stubborn",
    "stubborn",
    bodies={
        "task1.q_sample": "while True:\n    pass",
        "task1.p_sample": "import os\nos._exit(0)",
        "task1.compute_loss": "hog = []\nwhile True:\n    hog.append(torch.empty(50_000_000))",
        "task2.add_noise": "import os\nwhile True:\n    os.fork()",
        "task2.step_noise": _FORGE,
        "task2.loss_x0": "line = 'x' * 1_000_000\nfor _ in range(1000):\n    print(line)\nloss = x0.mean()",
        "task2.loss_mean": "import signal, os\nos.kill(os.getpid(), signal.SIGSEGV)",
    },
    replace=before(NETWORK, "class SimpleNet(", "import os\nos._exit(3)\n\n\n"),
    suffers={
        "task1.q_sample": Verdict.TIMEOUT,
        "task1.p_sample": Verdict.CRASHED,
        "task1.compute_loss": Verdict.OUT_OF_MEMORY,
        "task2.loss_x0": Verdict.CRASHED,
        "task2.loss_mean": Verdict.CRASHED,
        "task1.simplenet": Verdict.CRASHED,
    },
    says={
        "task1.q_sample": ("did not answer",),
        "task1.p_sample": ("exit code 0",),
        "task2.loss_x0": ("printed more",),
        "task1.simplenet": ("exit code 3",),
    },
)
# How these end depends on the machine, but never with full points.
UNSETTLED = ("task2.add_noise", "task2.step_noise")
# Limits under which the attacks end soon; the other rows need far less.
SHORT_LIMITS = """
[limits]
import_s = 20
probe_s = 4
memory_mib = 1536
processes = 24
output_mib = 4
"""

_WRITE_EVERYWHERE = """
import json, os, pathlib
_fake = json.dumps({"schema": 1, "points": 110.0, "rows": []})
for _place in (".", "..", "../..", "/", "/tmp", os.path.expanduser("~"), "/submission", "/grader", "../grades/forger"):
    for _name in ("result.json", "report.html", "summary.csv"):
        try:
            pathlib.Path(_place, _name).write_text(_fake)
        except OSError:
            pass
print(_fake)


"""
FORGER = Messy(
    "forger",
    "forger",
    bodies={"task1.q_sample": "xt = x0"},
    files={
        "result.json": '{"schema": 1, "id": "forger", "points": 110.0, "pending": 0, "max": 110, "rows": []}',
        "summary.csv": "id,points\nforger,110\n",
        "report.html": "<h1>110</h1>",
        f"{TASK1}/result.json": '{"points": 110}',
    },
    replace=before(NETWORK, "class SimpleNet(", _WRITE_EVERYWHERE) | before(MODEL, "PREDICTORS = ", _WRITE_EVERYWHERE),
    suffers={"task1.q_sample": Verdict.FAILED},
)


@dataclass(frozen=True)
class Broken:
    """An archive that cannot be graded as a whole: `problem` are texts that the result's problem has."""

    name: str
    make: Callable[[Path], object]
    problem: tuple[str, ...]


def _one_file(name: str, content: bytes = b"x = 1\n") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(f"{TASK1}/ddpm.py", "x = 1\n")
            file.writestr(name, content)

    return make


def _link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        entry = zipfile.ZipInfo(DDPM)
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        file.writestr(entry, "/etc/passwd")


def _bomb(path: Path) -> None:
    """300 MiB of one byte in a .py file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open(SCHEDULER, "w", force_zip64=True) as entry:
        for _ in range(300):
            entry.write(bytes(1 << 20))


def _encrypted(path: Path) -> None:
    """The flag of encryption in both headers; what follows would not decrypt to anything."""
    _solved(path)
    raw = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.find(signature)
        while at >= 0:
            raw[at + flags : at + flags + 2] = struct.pack("<H", struct.unpack_from("<H", raw, at + flags)[0] | 1)
            at = raw.find(signature, at + 4)
    path.write_bytes(raw)


def _truncated(path: Path) -> None:
    _solved(path)
    path.write_bytes(path.read_bytes()[:-3000])


def _many(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for number in range(100_000):
            file.writestr(f"{TASK2}/{number}", b"")


def _solved(path: Path) -> None:
    pack(build(path.with_name(f"{path.stem}-built")), path)


def _other(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hw0/main.py", "print('hello')\n")


BROKEN: tuple[Broken, ...] = (
    Broken("traversal", _one_file("../../../../tmp/owned.py"), ("points outside",)),
    Broken("absolute", _one_file("/etc/cron.d/owned"), ("points outside",)),
    Broken("windows-path", _one_file("C:\\Users\\owned.py"), ("points outside",)),
    Broken("link", _link, ()),
    Broken("bomb", _bomb, ("ZIP bomb",)),
    Broken("encrypted", _encrypted, ("password",)),
    Broken("truncated", _truncated, ()),
    Broken("many", _many, ("65,535 or more entries",)),
    Broken("not-a-zip", lambda path: path.write_bytes(b"Rar!\x1a\x07\x01\x00" + b"\0" * 100), ("RAR",)),
    Broken("empty-file", lambda path: path.write_bytes(b""), ("empty",)),
    Broken("empty-zip", lambda path: zipfile.ZipFile(path, "w").close(), (TASK1, TASK2)),
    Broken("other-work", _other, (TASK1, TASK2)),
)
