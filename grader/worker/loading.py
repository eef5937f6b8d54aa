"""One mount of a submission inside its process: the student's modules and how they fail."""

from __future__ import annotations

import builtins
import importlib
import os
import random
import re
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import cuda_shim
import generators
import hiding
import loaders
import numpy as np
import torch
from placeholders import PlaceholderFinder
from registry import Blocked, Missing, NotImplementedByStudent, probe
from wire import TEXT_CAP

COPY_FILE = 1 << 20  # bytes; larger files are linked
COPY_TOTAL = 32 << 20  # bytes of scratch that a mount may take
COPY_COUNT = 2000  # files

__all__ = ["Blocked", "Missing", "Mount", "NotImplementedByStudent", "describe", "probe"]


Result = tuple[dict[str, Any], dict[str, Any]]
Note = Callable[[dict[str, str]], None]  # tells the grader that an import begins or ends
Tensors = dict[str, torch.Tensor]
Ask = Callable[[dict[str, Any], Tensors], Tensors]  # a question to the grader, and its answer


@dataclass(frozen=True)
class Lab:
    """What the worker knows of the lab: names of modules that rows ask for, and of all that an edition may bring."""

    modules: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()  # packages that hold answers


class Mount:
    """The student's files of one mount, copied to a scratch folder that is the working directory.

    `remarks` lists what was done to make them run here. Probes use `module` and `need`, `libraries`, which of the
    hidden packages that were asked for are installed, and `ask(question, tensors)` for what the grader alone can tell
    in the middle of a call: `question` is JSON, tensors go and come.
    """

    def __init__(
        self,
        name: str,
        source: Path,
        folder: Path,
        note: Note = lambda _: None,
        blocked: frozenset[str] = frozenset(),
        lab: Lab | None = None,
        libraries: frozenset[str] = frozenset(),
        ask: Ask | None = None,
    ) -> None:
        self.name, self.folder, self.blocked = name, folder.resolve(), blocked
        self.ask = ask or _nobody
        self.lab = lab or Lab()
        self.libraries = hiding.installed(libraries)
        self.remarks: list[str] = []
        self._note = note
        self._failed: dict[str, tuple[BaseException, TracebackType | None]] = {}
        self._seed = 0
        self._on_cpu = False  # whether what is asked of CUDA goes to the CPU
        copy_mount(source, self.folder)
        self._settle()

    def _settle(self) -> None:
        os.chdir(self.folder)
        sys.path.insert(0, str(self.folder))
        sys.argv = ["grader"]
        hiding.hide(hidden := self.lab.hidden - self.libraries, self.folder)
        sys.meta_path.append(PlaceholderFinder(self.folder, self.remarks, self.lab.files, hidden))
        builtins.input = _no_input
        warnings.filterwarnings("ignore", message=".*non-interactive.*")  # plt.show()
        generators.watch()
        loaders.stay_here()

    def seed(self, seed: int) -> None:
        """Set every global random state; done again after an import, so that imports change no draw."""
        self._seed = seed
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        generators.reseed(seed)

    def module(self, name: str) -> ModuleType:
        """The student's module, imported once. Raises Missing, or each time what the import raised."""
        if name in self._failed:
            error, trace = self._failed[name]
            raise error.with_traceback(trace)
        if name in sys.modules and name not in sys.builtin_module_names and self._ours(sys.modules[name]):
            return sys.modules[name]
        if not (self.folder / f"{name}.py").is_file() and not (self.folder / name).is_dir():
            raise Missing(f"{name}.py was not handed in")
        if name in self.blocked:
            raise Blocked(name)
        return self._import(name)

    def _ours(self, module: ModuleType) -> bool:
        return str(getattr(module, "__file__", "")).startswith(str(self.folder))

    def _import(self, name: str) -> ModuleType:
        if not self._on_cpu and not torch.cuda.is_available() and mentions_cuda(self.folder, name, set()):
            cuda_shim.activate()
            self._on_cpu = True
            self.remarks.append("asks for CUDA by name: graded on the CPU all the same")
        self._note({"importing": name})
        sys.modules.pop(name, None)  # a module of the library by the same name
        try:
            return importlib.import_module(name)
        except BaseException as error:
            self._failed[name] = (_as_missing(name, error, self.lab.files), error.__traceback__)
            raise self._failed[name][0] from None
        finally:
            self._note({"imported": name})
            self.seed(self._seed)

    def need(self, module: str, attribute: str) -> Any:
        """A class or function of a student's module. Raises Missing, or what the import raised."""
        found = getattr(self.module(module), attribute, None)
        if found is None:
            raise Missing(f"{module}.py has no {attribute}")
        return found


def _nobody(question: dict[str, Any], tensors: Tensors) -> Tensors:
    raise RuntimeError("nobody answers questions here")


def _as_missing(name: str, error: BaseException, files: frozenset[str]) -> BaseException:
    if isinstance(error, ModuleNotFoundError) and error.name in files:
        return Missing(f"{name}.py imports {error.name}, which was not handed in")
    return error


def mentions_cuda(folder: Path, name: str, seen: set[str]) -> bool:
    """Whether a module, or one of the same folder that it imports, names CUDA; training scripts beside it may."""
    files = [file for file in (folder / f"{name}.py", *(folder / name).rglob("*.py")) if file.is_file()]
    if name in seen or not files:
        return False
    seen.add(name)
    source = b"\n".join(file.read_bytes() for file in files)
    imported = re.findall(rb"^\s*(?:from|import)\s+([A-Za-z_]\w*)", source, re.MULTILINE)
    return b"cuda" in source or any(mentions_cuda(folder, other.decode(), seen) for other in imported)


def _no_input(prompt: object = "") -> str:
    raise EOFError("input() was called: nobody answers while grading")


def copy_mount(source: Path, target: Path) -> None:
    """Copy a mount to scratch; what is large, or past the first COPY_COUNT files, is linked."""
    count = total = 0
    for folder, _, files in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = Path(folder, file)
            if not path.is_file():  # a pipe, or a link to nowhere
                continue
            size = path.stat().st_size
            count, total = count + 1, total + size
            python = path.suffix == ".py"  # its frames are recognised by the folder
            if size <= COPY_FILE and (python or (count <= COPY_COUNT and total <= COPY_TOTAL)):
                shutil.copyfile(path, here / file)
            else:
                os.symlink(path, here / file)


def describe(error: BaseException, mount: Mount) -> dict[str, Any]:
    """The error frame for what a probe raised: kind, message, and where in the student's own files."""
    folder = mount.folder
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _inside(frame.filename, folder)]
    places = [f"{_relative(f.filename, folder)}:{f.lineno} in {f.name}" for f in frames]
    if isinstance(error, SyntaxError) and error.filename and _inside(error.filename, folder):
        places.append(f"{_relative(error.filename, folder)}:{error.lineno}")
    lines = [
        f"{place}\n    {frame.line}" if frame else place
        for place, frame in zip(places, frames + [None] * len(places), strict=False)
    ]
    frame = {
        "ok": False,
        "kind": kind_of(error),
        "message": message_of(error)[:TEXT_CAP],
        "where": places[-1][:TEXT_CAP] if places else "",
        "traceback": "\n".join(lines)[-TEXT_CAP:],
    }
    return frame | ({"module": str(error)} if isinstance(error, Blocked) else {})


def _inside(file: str, folder: Path) -> bool:
    return file.startswith(f"{folder}{os.sep}")


def _relative(file: str, folder: Path) -> str:
    return file[len(str(folder)) + 1 :]


def kind_of(error: BaseException) -> str:
    """How the grader counts an exception: missing, not_implemented, out_of_memory, blocked or crashed."""
    if isinstance(error, Missing):
        return "missing"
    if isinstance(error, Blocked):
        return "blocked"
    if isinstance(error, NotImplementedError | NotImplementedByStudent):
        return "not_implemented"
    text = str(error) if isinstance(error, RuntimeError) else ""
    full = "can't allocate memory" in text or "DefaultCPUAllocator" in text
    if full or isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "out_of_memory"
    return "crashed"


def message_of(error: BaseException) -> str:
    """The exception in a line, as Python prints it; our own exceptions are their text alone."""
    if isinstance(error, Missing | NotImplementedByStudent | Blocked):
        return str(error)
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r}) was called"
    return "".join(traceback.format_exception_only(type(error), error)[-1:]).strip()


@probe("about")
def about(mount: Mount, params: dict[str, Any], arrays: dict[str, Any]) -> Result:
    """What was done to make the mount run here. Imports what earlier processes of the mount imported or may have."""
    for name in dict.fromkeys((*mount.lab.modules, *params.get("modules", ()))):
        with suppress(BaseException):  # a row has told about it
            mount.module(name)
    return {"remarks": list(mount.remarks)}, {}
