"""How the worker loads a half: stand-ins for CUDA and for modules that are not installed, errors, files."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.lab import LAB
from grader.records import Verdict
from grader.sandbox import ProbeFailure, Sandbox, SandboxKind

PROBES = """
from loading import probe

@probe("run")
def run(half, params, arrays):
    result = half.need(params["module"], params["name"])(*params.get("args", ()))
    return {"result": result, "remarks": half.remarks}, {}

@probe("draw")
def draw(half, params, arrays):
    import numpy, random, torch
    half.module(params["module"])
    return {"draws": [torch.rand(()), numpy.random.rand(), random.random()]}, {}
"""

CUDA = """
import torch
from torch import nn
torch.cuda.set_device(0)
torch.cuda.manual_seed_all(1)
device = torch.device("cuda:0")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2, device="cuda")
        self.register_buffer("table", torch.linspace(0, 1, 4).to("cuda"))

    def forward(self, x):
        return self.layer(x) * self.table[torch.tensor([1], device=device)]

def factories():
    g = torch.Generator(device="cuda").manual_seed(0)
    x = [torch.randn(2, 2, device="cuda", generator=g), torch.zeros(2, 2, device=device), torch.arange(4, device=0),
         torch.tensor([1.0]).cuda(), torch.ones(2).to(0), torch.ones(2).to("cuda"), torch.ones(2).to(device),
         torch.ones(2).to(device, torch.float64), torch.ones(2).to(dtype=torch.half, device="cuda:0"),
         torch.ones(2).new_zeros(3, device="cuda"), torch.ones(2).new_tensor([1], device=device),
         torch.ones(2, device="cuda").cuda(non_blocking=True), torch.ones(2).type("torch.cuda.FloatTensor"),
         torch.ones(2).type(torch.cuda.FloatTensor), torch.cuda.FloatTensor([1.0]), torch.ones(2).pin_memory(),
         torch.full_like(torch.ones(2), 3, device="cuda"), torch.as_tensor([1], device="cuda"),
         torch.from_numpy(torch.ones(2).numpy()).to(device), torch.randint(0, 9, (3,), device="cuda"),
         torch.empty_like(torch.ones(1), device="cuda:0"), torch.randperm(3, device="cuda")]
    assert isinstance(g, torch.Generator)
    assert x[7].dtype == torch.float64 and x[8].dtype == torch.float16
    return sorted({t.device.type for t in x})

def modules():
    for net in (Net().cuda(), Net().to("cuda"), Net().to(device), Net().to(device=device, dtype=torch.float32)):
        out = net(torch.ones(3, 2).to(next(net.parameters()).device))
        out.sum().backward()
    return out.device.type

def helpers():
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    import os
    torch.save({"x": torch.ones(1)}, "x.pt")
    found = {torch.load("x.pt", map_location="cuda")["x"].device.type, torch.load("x.pt", "cuda")["x"].device.type}
    with torch.autocast("cuda"), torch.cuda.amp.autocast():
        found.add((torch.ones(2, 2, device="cuda") @ torch.ones(2, 2).cuda()).device.type)
    torch.set_default_device("cuda")
    found.add(torch.ones(2).device.type)
    torch.set_default_device("cpu")
    with torch.device("cuda"):
        found.add(torch.ones(2).device.type)
    return [*sorted(found), torch.cuda.is_available(), torch.cuda.current_device()]

def loop():
    x = torch.randn(2, 2).to(device)
    for t in reversed(range(3)):
        t = torch.full((2,), t, device=x.device, dtype=torch.long)
        x = x + t.to(x.device)[:, None]
    return x.device.type
"""

PLACEHOLDERS = """
import wandb
import wandb.sdk.data
import einops as eo
from jaxtyping import Float, jaxtyped
from dotmap import DotMap
from beartype import beartype
import pytorch_lightning as pl
import matplotlib.pyplot as plt
try:
    import xformers
except ImportError:
    xformers = None
import torch

wandb.init(project="x")

@jaxtyped(typechecker=beartype)
@beartype
def f(x: Float[torch.Tensor, "b 2"], y: Float[torch.Tensor, "b"] | None = None) -> int:
    with wandb.watch(x) as run:
        run.log({"loss": 1})
    wandb.config.lr = 3
    for _ in wandb.Api().runs():
        pass
    plt.plot([1, 2])
    plt.show()
    return 5

class Model(pl.LightningModule, torch.nn.Module):
    pass

def checks():
    Model()
    return [f(1), xformers is None]

def uses():
    return eo.rearrange(torch.ones(2), "a -> a") + 1
"""

FILES = {
    "cuda/model.py": CUDA,
    "cuda/loading.py": "def f():\n    return 'mine'\n",
    "plain/wants.py": PLACEHOLDERS,
    "plain/incomplete.py": "from chamfer import distance\n",
    "plain/submodule.py": "import torch.no_such_thing\n",
    "plain/broken.py": "x = 1\ndef f(:\n",
    "plain/asks.py": "name = input('who? ')\n",
    "plain/parses.py": "import argparse\nargs = argparse.ArgumentParser().parse_args()\ndef f():\n    return 1\n",
    "plain/todo.py": "def f():\n    raise NotImplementedError('TODO task1.q_sample')\n",
    "plain/utils.py": "import helper_module\ndef f():\n    return helper_module.VALUE\n",
    "plain/helper_module.py": "VALUE = 3\n",
    "plain/random_at_import.py": "import torch, numpy as np\ntorch.manual_seed(5); np.random.rand(3)\n",
    "plain/package/__init__.py": "def f():\n    return open('data.txt').read() + open('deep/large.bin').read(3)\n",
    "plain/data.txt": "data",
    "plain/deep/large.bin": "L" * (2 << 20),
    "plain/chinese.py": "# 註解\ndef f():\n    raise ValueError('錯誤 \\ud800')\n",
    "plain/long.py": "def f():\n    raise ValueError('x' * 100_000)\ndef g(n=0):\n    g(n + 1)\n",
    "plain/hostile.py": "class E(Exception):\n    def __str__(self):\n        raise ValueError\n"
    "def f():\n    raise E\n",
    "probes.py": PROBES,
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory):
    root: Path = tmp_path_factory.mktemp("submission")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(text, encoding="utf-8")
    with Sandbox(
        root,
        {"cuda": "cuda", "plain": "plain"},
        LAB.policy().limits,
        LAB.material.with_probes(root / "probes.py"),
        SandboxKind.NONE,
    ) as sandbox:
        yield sandbox


def run(sandbox: Sandbox, half: str, module: str, name: str = "f") -> object:
    return sandbox.call(half, "run", {"module": module, "name": name}).data["result"]


def failure(sandbox: Sandbox, module: str, name: str = "f") -> ProbeFailure:
    with pytest.raises(ProbeFailure) as caught:
        run(sandbox, "plain", module, name)
    return caught.value


@pytest.mark.parametrize(
    ("name", "expected"), [("factories", ["cpu"]), ("modules", "cpu"), ("helpers", ["cpu", False, 0]), ("loop", "cpu")]
)
def test_cuda_runs_on_the_cpu(sandbox, name, expected):
    assert run(sandbox, "cuda", "model", name) == expected


def test_cuda_is_a_remark(sandbox):
    assert sandbox.call("cuda", "about").data["remarks"] == ["asks for CUDA by name: graded on the CPU all the same"]
    assert "CUDA" not in str(sandbox.call("plain", "about").data["remarks"])


def test_a_students_file_may_have_the_name_of_one_of_ours(sandbox):
    assert run(sandbox, "cuda", "loading") == "mine"


def test_placeholders_stand_in_for_what_is_not_installed(sandbox):
    assert run(sandbox, "plain", "wants", "checks") == [5, True]
    remarks = sandbox.call("plain", "about").data["remarks"]
    assert [remark.split()[1].rstrip(",") for remark in remarks] == [
        "wandb",
        "einops",
        "jaxtyping",
        "dotmap",
        "beartype",
        "pytorch_lightning",
    ]
    assert remarks[0] == "imports wandb, which is not installed: a placeholder stands in for it"
    assert failure(sandbox, "wants", "uses").message.startswith("TypeError")


def test_a_file_of_the_lab_is_missing_not_replaced(sandbox):
    assert str(failure(sandbox, "incomplete")) == ("missing: incomplete.py imports chamfer, which was not handed in")
    error = failure(sandbox, "submodule")
    assert (error.verdict, error.where) == (Verdict.CRASHED, "submodule.py:1 in <module>")


@pytest.mark.parametrize(
    ("module", "verdict", "message", "where"),
    [
        ("broken", "crashed", "SyntaxError: invalid syntax", "broken.py:2"),
        ("asks", "crashed", "EOFError: input() was called: nobody answers while grading", "asks.py:1 in <module>"),
        ("todo", "not_implemented", "NotImplementedError: TODO task1.q_sample", "todo.py:2 in f"),
        ("nowhere", "missing", "nowhere.py was not handed in", ""),
        ("chinese", "crashed", "ValueError: 錯誤 ?", "chinese.py:3 in f"),
    ],
)
def test_errors_say_what_and_where(sandbox, module, verdict, message, where):
    error = failure(sandbox, module)
    assert (error.verdict, error.message, error.where) == (Verdict(verdict), message, where)
    assert "loading.py" not in error.traceback


def test_texts_are_bounded(sandbox):
    assert len(failure(sandbox, "long").message) == 4096
    error = failure(sandbox, "long", "g")
    assert error.message.startswith("RecursionError")
    assert len(error.traceback) == 4096, "the end of a longer one"


def test_an_error_that_cannot_be_printed(sandbox):
    assert failure(sandbox, "hostile").verdict is Verdict.CRASHED
    assert run(sandbox, "plain", "utils") == 3


def test_arguments_files_and_packages(sandbox):
    assert run(sandbox, "plain", "parses") == 1
    assert run(sandbox, "plain", "utils") == 3
    assert run(sandbox, "plain", "package") == "dataLLL"


def test_seeds_hold_whatever_an_import_draws(sandbox):
    def draw(module: str, seed: int) -> list[float]:
        return sandbox.call("plain", "draw", {"module": module, "seed": seed}).data["draws"]

    first = draw("utils", 7)
    assert draw("random_at_import", 7) == first
    assert draw("random_at_import", 7) == first
    assert draw("utils", 8) != first
