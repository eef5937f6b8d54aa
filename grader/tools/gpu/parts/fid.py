"""FID of the same images by the same weights, drawn from a seed, on the card and on the CPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grader.fid.benchmark import make_images
from grader.fid.extractor import Extractor
from grader.fid.frechet import frechet_distance, from_features
from grader.fid.images import open_folder, pictures
from grader.fid.weights import seeded_inception
from grader.tools.gpu.bare import install_where_missing
from grader.tools.gpu.record import rows
from grader.tools.gpu.session import Session

ALLOWED = 1e-3  # relative difference of two FIDs
BATCHES = {"cpu": 32, "cuda": 128}


def run(session: Session) -> None:
    counts = (4, 6) if session.settings.trial else (500, 1500)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "inception.pth")
        torch.save(seeded_inception(0), weights)
        images = []
        for name, count, falloff in zip(("generated", "reference"), counts, (1.1, 1.0), strict=True):
            make_images(Path(folder, name), count, count, falloff)
            images.append([picture.pixels for picture in pictures(open_folder(Path(folder, name), name))])
        session.note(generated=counts[0], reference=counts[1], cores=len(os.sched_getaffinity(0)))
        found: dict[str, Any] = {}
        for device in dict.fromkeys((session.settings.device, "cpu")):
            session.say(f"on {device}")
            found[device] = measured(weights, device, *images)
            session.note(devices=found)
    card, cpu = found[session.settings.device]["fid"], found["cpu"]["fid"]
    difference = abs(card / cpu - 1)
    session.note(difference=difference, ratio=found[session.settings.device]["rate"] / found["cpu"]["rate"])
    session.check(f"the FIDs differ by at most {ALLOWED:g} of their size", difference <= ALLOWED, f"{difference:.1e}")
    _against_pytorch_fid(session)


def measured(weights: Path, device: str, generated: list[np.ndarray], reference: list[np.ndarray]) -> dict[str, float]:
    """FID, images per second of the extractor, and seconds of its first batch, which starts the device."""
    extractor = Extractor.open(weights, device, BATCHES[device])
    began = time.perf_counter()
    extractor.features(generated[: BATCHES[device]], lambda done: None)
    first = time.perf_counter() - began
    began = time.perf_counter()
    features = [extractor.features(images, lambda done: None)[1] for images in (generated, reference)]
    seconds = time.perf_counter() - began
    fid = frechet_distance(from_features(features[0]), from_features(features[1]))
    return {"fid": fid, "rate": (len(generated) + len(reference)) / seconds, "first_s": first}


def _against_pytorch_fid(session: Session) -> None:
    """The grader's own benchmark, where there is something to compare with; it runs the command line."""
    missing = ["pytorch_fid"] if importlib.util.find_spec("pytorch_fid") is None else []
    missing += ["pydantic"] if install_where_missing() else []
    if missing or session.settings.trial:
        session.note(pytorch_fid=f"not compared: no {' and no '.join(missing)} here" if missing else "not in a trial")
        return
    command = [sys.executable, "-m", "grader.fid.benchmark", "--device", session.settings.device]
    done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, session.left() - 5))
    session.note(pytorch_fid=done.stdout or done.stderr[-500:])
    session.check("pytorch_fid gives the same FID", done.returncode == 0, done.stdout.strip().rpartition("\n")[2])


def table(values: dict[str, Any]) -> list[str]:
    lines = [f"{values['generated']} against {values['reference']} images of 64x64; {values['cores']} CPU cores.", ""]
    lines += rows(["device", "FID", "images/s", "first batch, s"])
    for device, found in values["devices"].items():
        lines += rows([device, f"{found['fid']:.6f}", found["rate"], found["first_s"]], head=False)
    return [*lines, "", f"Relative difference {values['difference']:.1e}, ratio of speeds {values['ratio']:.3g}."]
