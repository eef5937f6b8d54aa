"""Inert stand-ins for modules that are not installed here (wandb, einops, ...): imports go through."""

from __future__ import annotations

import ast
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


class Placeholder:
    """Answers attributes, calls and indices with placeholders; a decorator made of it changes nothing."""

    def __init__(self, path: str) -> None:
        self.__dict__["_path"] = path

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder(f"{self._path}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and callable(args[0]) and not isinstance(args[0], Placeholder):
            return args[0]
        return Placeholder(f"{self._path}()")

    def __getitem__(self, key: Any) -> Placeholder:
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()  # as a base class it adds nothing

    def __enter__(self) -> Placeholder:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __or__(self, other: Any) -> Placeholder:  # annotations such as `Float[Tensor, "b 2"] | None`
        return self

    __ror__ = __or__

    def __repr__(self) -> str:
        return f"<{self._path}, which is not installed>"


class PlaceholderModule(ModuleType):
    """A module of placeholders."""

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder(f"{self.__name__}.{name}")


class PlaceholderFinder:
    """Last in sys.meta_path: serves what nothing else found, to imports written in the student's own files.

    An import that the student guards with `except ImportError` stays an ImportError: the fallback is theirs.
    """

    def __init__(
        self, folder: Path, remarks: list[str], lab_files: frozenset[str], hidden: frozenset[str] = frozenset()
    ) -> None:
        self.folder = str(folder)
        self.hidden = hidden  # as good as not installed, whatever is installed
        self.lab_files = lab_files  # where one of them is missing, a stand-in would only hide it
        self.remarks = remarks

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        root = name.split(".")[0]
        inside = isinstance(sys.modules.get(root), PlaceholderModule)
        if not inside and ("." in name or root in self.lab_files or not self._wanted()):
            return None
        if not inside:
            why = "holds answers and is hidden" if root in self.hidden else "is not installed"
            self.remarks.append(f"imports {root}, which {why}: a placeholder stands in for it")
        return ModuleSpec(name, self, is_package=True)

    def _wanted(self) -> bool:
        frame = sys._getframe(1)
        while frame and frame.f_code.co_filename.startswith(("<frozen", __file__)):
            frame = frame.f_back
        if frame is None or not frame.f_code.co_filename.startswith(self.folder):
            return False
        return not _guarded(frame.f_code.co_filename, frame.f_lineno)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return PlaceholderModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _guarded(file: str, line: int) -> bool:
    """Whether `line` of a file lies in the body of a `try` that catches ImportError."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    tries = (node for node in ast.walk(tree) if isinstance(node, ast.Try))
    return any(
        part.lineno <= line <= (part.end_lineno or part.lineno) and _catches(node)
        for node in tries
        for part in node.body
    )


def _catches(node: ast.Try) -> bool:
    names = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    return any(
        handler.type is None or any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(handler.type))
        for handler in node.handlers
    )
