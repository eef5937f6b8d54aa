"""Submissions as they really come in, odd archives, missing parts, other editions, and what is due for each."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grader.judging.made_up import Pairs, before
from grader.lab.files import DDPM, MODEL, NETWORK, SCHEDULER, TASK1, TASK2
from grader.records import Verdict
from grader.tests import other_editions
from grader.tools.builder import build

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
Wrap = Callable[[Path, Path], Path]


@dataclass(frozen=True)
class Messy:
    """A submission and what the grader must say. Rows that are not in `suffers` have full points.

    archive: its path below the folder of the class; without a `wrap` it is a folder. id: that of the result.
    says: {row: texts in its messages}. remarks: texts in the remarks of the result.
    """

    archive: str
    id: str
    bodies: Mapping[str, str] = field(default_factory=dict)
    replace: Mapping[str, Pairs] = field(default_factory=dict)
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)
    after: Callable[[Path], None] = lambda folder: None  # a last change to the built folder
    wrap: Wrap | None = None
    suffers: Mapping[str, Verdict] = field(default_factory=dict)
    says: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def write(self, scratch: Path, folder: Path) -> Path:
        """Build in `scratch`, hand in below `folder`; returns what goes to the command line."""
        target = folder / self.archive
        target.parent.mkdir(parents=True, exist_ok=True)
        built = build(scratch / self.id if self.wrap else target, self.bodies, self.files, self.replace)
        self.after(built)
        return self.wrap(built, target) if self.wrap else target


def zipped(top: str = "", extra: Mapping[str, bytes] | None = None, encoding: str | None = None) -> Wrap:
    """A ZIP below the folder `top`, with more entries. `encoding`: of names, written without the UTF-8 flag."""

    def wrap(built: Path, archive: Path) -> Path:
        files = {
            path.relative_to(built).as_posix(): path.read_bytes() for path in sorted(built.rglob("*")) if path.is_file()
        }
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in {
                **{f"{top}/{name}" if top else name: data for name, data in files.items()},
                **(extra or {}),
            }.items():
                file.writestr(OldName(name, encoding) if encoding else name, content)
        return archive

    return wrap


class OldName(zipfile.ZipInfo):
    """An entry whose name is in an old encoding, as Windows in Taiwan or China writes it."""

    def __init__(self, name: str, encoding: str) -> None:
        super().__init__(name)
        self.encoding = encoding

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode(self.encoding), self.flag_bits


def _crlf_bom_gbk(folder: Path) -> None:
    """CRLF everywhere, a BOM in one file, Chinese comments in GBK and Big5 in others."""
    for path in folder.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    bom, gbk, big5 = (folder / name for name in (DDPM, SCHEDULER, MODEL))
    bom.write_bytes(b"\xef\xbb\xbf" + "# 擴散模型：前向過程與反向過程\r\n".encode() + bom.read_bytes())
    comment = "# 这里计算余弦调度的贝塔值，注意不要除以零\r\n# 第二步：裁剪到零点九九九以下\r\n"
    gbk.write_bytes(comment.encode("gbk") + _ascii(gbk))
    big5.write_bytes("# 這裡計算損失函數，記得取平均值\r\n# 第二步：加入雜訊再預測\r\n".encode("big5") + _ascii(big5))


def _ascii(path: Path) -> bytes:
    return path.read_text(encoding="utf-8").encode("ascii", "replace").replace(b"\n", b"\r\n").replace(b"\r\r", b"\r")


def _run_notebook(folder: Path) -> None:
    """Outputs in every code cell: prints, a picture, an error."""
    path = folder / TASK1 / "ddpm_tutorial.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["execution_count"] = number
            cell["outputs"] = [
                {"output_type": "stream", "name": "stdout", "text": ["loss 0.71\n"] * 50},
                {"output_type": "display_data", "metadata": {}, "data": {"image/png": PIXEL, "text/plain": "<Figure>"}},
                {"output_type": "error", "ename": "KeyboardInterrupt", "evalue": "", "traceback": ["\x1b[31mbang"]},
            ]
    path.write_text(json.dumps(notebook), encoding="utf-8")


def _without(half: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        shutil.rmtree(folder / half)

    return remove


def _crashing(name: str, rows: tuple[str, ...], says: tuple[str, str], **edits: Any) -> Messy:
    """An edit after which a file cannot be imported, which costs the rows that are in it."""
    return Messy(name, name, suffers=_rows(*rows, verdict=Verdict.CRASHED), says=dict.fromkeys(rows, says), **edits)


def _rows(*names: str, verdict: Verdict) -> dict[str, Verdict]:
    return dict.fromkeys(names, verdict)


_DDPM_ROWS = ("task1.q_sample", "task1.p_sample", "task1.p_sample_loop", "task1.compute_loss")
_SCHEDULER_ROWS = ("task2.add_noise", "task2.cosine", "task2.step_noise", "task2.step_x0", "task2.step_mean")
_LOSS_ROWS = ("task2.loss_noise", "task2.loss_x0", "task2.loss_mean")
_TASK1, _TASK2 = ("task1.simplenet", *_DDPM_ROWS), (*_SCHEDULER_ROWS, *_LOSS_ROWS)

_NOISY_IMPORT = """
import matplotlib.pyplot as plt
import numpy as np
np.random.seed(0)
torch.manual_seed(0)
print("載入完成", "x" * 10_000)
plt.plot([1, 2, 3])
plt.title("損失 loss")
plt.show()
plt.savefig("loss.png")
torch.set_default_dtype(torch.float32)
for _ in range(3):
    nn.Linear(2, 2)(torch.zeros(1, 2)).sum().backward()
"""

ARCHIVES: tuple[Messy, ...] = (
    Messy(
        "412551014_lab1.zip",
        "412551014",
        wrap=zipped(
            "412551014_lab1",
            {
                "__MACOSX/412551014_lab1/2d_plot_diffusion_todo/._ddpm.py": b"\x00\x05\x16\x07" + b"\0" * 60,
                "412551014_lab1/.DS_Store": b"\0\0\0\1Bud1",
                "412551014_lab1/2d_plot_diffusion_todo/__pycache__/ddpm.cpython-310.pyc": b"\x6f\r\r\n" + b"\0" * 40,
            },
        ),
    ),
    Messy("lab1_0816001.zip", "lab1_0816001", wrap=zipped()),
    Messy(
        "王小明-Lab1 (1).zip",
        "王小明-Lab1 (1)",
        wrap=zipped(
            "王小明/深度學習 作業一",
            {"王小明/深度學習 作業一/圖/結果 1.png": b"\x89PNG", "王小明/深度學習 作業一/心得.txt": "謝謝".encode()},
        ),
    ),
    Messy("old-names_LAB1.ZIP", "old-names", wrap=zipped("作業一", encoding="big5")),
    Messy("B11902000", "B11902000", after=_crlf_bom_gbk, remarks=("GBK", "Big5")),
    Messy(
        "notebook_lab1.zip",
        "notebook",
        after=_run_notebook,
        wrap=zipped(),
        files={
            f"{TASK1}/ddpm (copy).py": "def broken(:\n",
            f"{TASK1}/checkpoints/last.ckpt": b"\0" * 2_000_000,
            f"{TASK2}/results/loss.png": b"\x89PNG",
            f"{TASK1}/test.py": "raise SystemExit('never run')\n",
        },
    ),
)

PARTS: tuple[Messy, ...] = (
    Messy(
        "only-2d_lab1.zip",
        "only-2d",
        after=_without(TASK2),
        wrap=zipped(),
        suffers=_rows(*_TASK2, verdict=Verdict.MISSING),
        says={"task2.cosine": (TASK2,)},
        remarks=(TASK2,),
    ),
    Messy("only-images", "only-images", after=_without(TASK1), suffers=_rows(*_TASK1, verdict=Verdict.MISSING)),
    Messy(
        "no-network-file",
        "no-network-file",
        files={NETWORK: None},
        suffers=_rows("task1.simplenet", verdict=Verdict.MISSING),
        says={"task1.simplenet": ("network.py",)},
    ),
    _crashing(
        "syntax-in-ddpm",
        _DDPM_ROWS,
        ("SyntaxError", "ddpm.py:"),
        bodies={"task1.compute_loss": "loss = F.mse_loss((x0, x0)"},
    ),
    _crashing(
        "syntax-in-scheduler",
        _SCHEDULER_ROWS,
        ("SyntaxError", "scheduler.py:"),
        bodies={"task2.cosine": "betas = = 1"},
    ),
    _crashing(
        "indentation-in-model",
        _LOSS_ROWS,
        ("Error", "model.py:"),
        replace={MODEL: [("        self.network = network\n", "\tself.network = network\n")]},
    ),
    _crashing(
        "exit-at-import",
        ("task1.simplenet",),
        ("sys.exit", "network.py:"),
        replace=before(NETWORK, "class SimpleNet(", "import sys\nsys.exit(0)\n\n\n"),
    ),
    Messy(
        "todo-left",
        "todo-left",
        bodies={
            "task1.q_sample": "raise NotImplementedError('TODO task1.q_sample')",
            "task2.step_x0": "sample_prev = None",
            "task2.cosine": "pass",
            "task2.loss_mean": "loss = None",
        },
        suffers=_rows("task1.q_sample", "task2.step_x0", "task2.loss_mean", verdict=Verdict.NOT_IMPLEMENTED)
        | {"task2.cosine": Verdict.CRASHED},
    ),
)

HABITS: tuple[Messy, ...] = (
    Messy(
        "not-installed",
        "not-installed",
        replace=before(NETWORK, "import torch\n", "import wandb\nimport einops.layers.torch\n")
        | before(SCHEDULER, "import torch\n", "from accelerate import Accelerator\nfrom mylogger import log\n")
        | before(MODEL, "PREDICTORS = ", "import lightning.pytorch as pl\nrun = pl.WandbLogger(name='x')\n"),
        remarks=tuple(
            f"imports {name}, which is not installed"
            for name in ("wandb", "einops", "accelerate", "mylogger", "lightning")
        ),
    ),
    Messy(
        "noisy-import",
        "noisy-import",
        replace=before(NETWORK, "class SimpleNet(", _NOISY_IMPORT + "\n\n")
        | before(DDPM, "class DiffusionModule(", _NOISY_IMPORT + "\n\n")
        | before(MODEL, "PREDICTORS = ", _NOISY_IMPORT),
        remarks=("network.py", "ddpm.py", "model.py"),
    ),
    Messy(
        "cuda_lab1.zip",
        "cuda",
        bodies=other_editions.CUDA_BODIES,
        replace=other_editions.CUDA_REPLACE,
        wrap=zipped(),
        remarks=("CUDA",),
    ),
    Messy(
        "other-edition",
        "other-edition",
        files={SCHEDULER: other_editions.EDITION_SCHEDULER, MODEL: other_editions.EDITION_MODEL},
        suffers=_rows("task2.step_x0", "task2.step_mean", "task2.loss_x0", "task2.loss_mean", verdict=Verdict.MISSING)
        | {"task2.cosine": Verdict.NOT_IMPLEMENTED},
        says={"task2.step_x0": ("step_predict_x0",), "task2.loss_mean": ("get_loss_mean",)},
        remarks=("another edition",),
    ),
    Messy(
        "own-files",
        "own-files",
        bodies=other_editions.HELPER_BODIES,
        replace=other_editions.HELPER_REPLACE,
        files=other_editions.HELPER_FILES,
        remarks=("extra file",),
    ),
    Messy("t-in-step", "t-in-step", replace=other_editions.IN_STEP_REPLACE),
)

CASES: tuple[Messy, ...] = (*ARCHIVES, *PARTS, *HABITS)
