"""Limits of memory beside CUDA: they let it start, they still bind, and a card's memory comes back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from grader.lab import LAB
from grader.records import Verdict
from grader.sandbox import ProbeFailure, Sandbox, SandboxKind
from grader.tools.gpu.record import rows
from grader.tools.gpu.session import Session

HALF = "half"
SUBMISSION = """
import resource
import torch

kept = []

def status():
    lines = open("/proc/self/status").read().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.endswith(" kB")}

def start(device):
    kept.append(torch.ones(1 << 20, device=device))
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20
    return {"sum": kept[0].sum().item(), "limit_mib": limit} | status()

def take_card(device, mib):
    kept.append(torch.ones(mib << 20, dtype=torch.uint8, device=device))
    return mib

def take_all_of_the_card(device, mib):
    while True:
        kept.append(torch.ones(mib << 20, dtype=torch.uint8, device=device))

def hoard():
    while True:
        kept.append(torch.ones(16 << 20))
"""
PROBES = """
from loading import probe

@probe("run")
def run(half, params, arrays):
    return {"result": half.need("hoarding", params["name"])(*params.get("args", ()))}, {}
"""


def run(session: Session) -> None:
    session.note(sandbox=session.settings.sandbox)
    device = session.settings.device
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, HALF).mkdir()
        Path(folder, HALF, "hoarding.py").write_text(SUBMISSION, encoding="utf-8")
        Path(folder, "gpu_probes.py").write_text(PROBES, encoding="utf-8")
        for path in (Path(folder), Path(folder, HALF)):
            path.chmod(0o755)
        for path in Path(folder).rglob("*.py"):
            path.chmod(0o644)
        before = _free(device)
        with _sandbox(session, Path(folder)) as sandbox:
            _beside_cuda(session, sandbox, device, before)
        session.note(free_mib={**session.values.get("free_mib", {}), "after": _free(device)})
    if device == "cuda":
        after = session.values["free_mib"]["after"]
        session.check(
            "the card's memory is given back", after >= before - 64, f"{before} MiB free before, {after} after"
        )


def _sandbox(session: Session, folder: Path) -> Sandbox:
    limits = LAB.policy().limits.model_copy(update={"probe_s": 120.0, "import_s": 60.0})
    material = LAB.material.with_probes(folder / "gpu_probes.py")
    kind = SandboxKind(session.settings.sandbox)
    return Sandbox(folder, {HALF: HALF}, limits, material, kind, gpu=session.settings.device == "cuda")


def _beside_cuda(session: Session, sandbox: Sandbox, device: str, before: int) -> None:
    session.note(environment=sandbox.environment())
    started = _asked(sandbox, "start", device)
    session.note(started=started)
    session.check("CUDA starts under the policy's limits", isinstance(started, dict), _briefly(started))
    taken = _asked(sandbox, "take_card", device, 64 if device == "cpu" else 2048)
    session.note(free_mib={"before": before, "while a submission holds 2 GiB of it": _free(device)})
    session.check("a submission may take memory of the card", taken in (64, 2048), taken)
    hoarded = _asked(sandbox, "hoard")
    session.check("too much memory of the host is out_of_memory", _is_out_of_memory(hoarded), hoarded)
    again = _asked(sandbox, "start", device)
    session.check("and the next call is answered", isinstance(again, dict), _briefly(again))
    if device == "cuda":
        full = _asked(sandbox, "take_all_of_the_card", device, 4096)
        session.check("too much memory of the card is out_of_memory", _is_out_of_memory(full), full)
        again = _asked(sandbox, "start", device)
        session.check("and the card is there for the next call", isinstance(again, dict), _briefly(again))
    session.note(limits=sandbox.limits.model_dump())


def _asked(sandbox: Sandbox, name: str, *arguments: Any) -> Any:
    """What the submission's function returned, or how it failed in words."""
    try:
        return sandbox.call(HALF, "run", {"name": name, "args": list(arguments)}).data["result"]
    except ProbeFailure as failure:
        return f"{failure.verdict}: {failure.message}".partition("\n")[0]


def _briefly(started: Any) -> str:
    """What `start` returned, or why it did not, in a line."""
    if not isinstance(started, dict):
        return str(started)
    return f"RLIMIT_DATA {started['limit_mib']} MiB, used of it {started['VmData']}, resident {started['VmRSS']}"


def _is_out_of_memory(found: Any) -> bool:
    return isinstance(found, str) and found.startswith(Verdict.OUT_OF_MEMORY)


def _free(device: str) -> int:
    """MiB of the card that nobody has taken."""
    return torch.cuda.mem_get_info()[0] >> 20 if device == "cuda" else 0


def table(values: dict[str, Any]) -> list[str]:
    lines = rows(["what", "MiB"])
    started = values.get("started")
    if isinstance(started, dict):
        picked = {"limit_mib": "RLIMIT_DATA", "VmData": "VmData once CUDA runs", "VmRSS": "resident once CUDA runs"}
        for key, what in picked.items():
            lines += rows([what, started.get(key)], head=False)
    for when, free in values.get("free_mib", {}).items():
        lines += rows([f"free on the card {when}", free], head=False)
    return lines
