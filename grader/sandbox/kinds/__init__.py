"""The kinds of sandbox by name. A new one: a module with a class of this interface, a line here and in SandboxKind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..base import SandboxKind
from .base import Kind
from .bubblewrap import Bubblewrap
from .none import NoWalls
from .user import OwnUser

KINDS: dict[SandboxKind, type[Kind]] = {
    SandboxKind.AUTO: Bubblewrap,
    SandboxKind.BUBBLEWRAP: Bubblewrap,
    SandboxKind.USER: OwnUser,
    SandboxKind.NONE: NoWalls,
}


def resolve(kind: SandboxKind, gpu: bool = False, private: Iterable[Path] = ()) -> SandboxKind:
    """The kind that is meant, AUTO being one of the others. Raises SandboxUnavailable where it does not work.

    `private`: what no submission may read, besides the grader and the answers.
    """
    KINDS[kind].require(gpu, private)
    return KINDS[kind].name
