"""Writes a lab whose judges go wrong in a given way: what the grader makes of it is the same for every lab."""

from __future__ import annotations

import sys
from pathlib import Path

from grader.labs import Lab, named

INIT = """
from grader.labs import Half, Lab
from grader.running import grading

grading.JUDGE_S = 2.0
LAB = Lab({package!r}, (Half("part1", "odd_half", "Part 1", ("odd.py",), "odd.py"),), suffix="_odd")
"""
JUDGE = """
import os
import signal
import time
from pathlib import Path

import numpy as np

from grader.judging.bench import Judgement, Observation
from grader.records import Check, Verdict
from grader.sandbox import ProbeFailure


class Undrawable(Observation):
    def draw(self, folder):
        (folder / "half.png").write_bytes(b"half")
        raise ValueError("no picture")


def told(verdict, text="", seen=()):
    return Judgement([Check("value", verdict, 5.0 * (verdict == "passed"), 5.0, text)], list(seen))


def judge(bench):
{body}
"""
POLICY = Path(__file__).with_name("toy") / "policy.toml"
PASSES = "return told(Verdict.PASSED)"


def odd_lab(folder: Path, bodies: dict[str, str], **limits: float) -> Lab:
    """A lab with a row for each body of a judge, in this order; `limits` replace those of the toy lab's policy."""
    package = f"odd_lab_{abs(hash(str(folder)))}"
    top = folder / "labs" / package
    rubric = [f'[[row]]\nid = "part1.{name}"\npoints = 5\ntitle = "{name}"\n' for name in bodies]
    policy = POLICY.read_text(encoding="utf-8")
    for key, value in limits.items():
        policy = "\n".join(f"{key} = {value}" if line.startswith(f"{key} =") else line for line in policy.split("\n"))
    files = {
        "__init__.py": INIT.format(package=package),
        "rubric.toml": "\n".join(rubric),
        "policy.toml": policy,
        "rows/__init__.py": "",
        "rows/part1/__init__.py": "",
        "released/odd_half/odd.py": "x = 1\n",
    }
    for name, body in bodies.items():
        text = "\n".join(f"    {line}" for line in body.split("\n"))
        files |= {
            f"rows/part1/{name}/__init__.py": "",
            f"rows/part1/{name}/judge.py": JUDGE.replace("{body}", text),
            f"rows/part1/{name}/misconceptions.py": "CATALOGUE = ()\n",
        }
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content, encoding="utf-8")
    sys.path.append(str(folder / "labs"))
    return named(package)


def odd_submission(folder: Path, name: str = "7") -> Path:
    """A submission of such a lab."""
    half = folder / name / "odd_half"
    half.mkdir(parents=True)
    (half / "odd.py").write_text("x = 1\n", encoding="utf-8")
    return half.parent
