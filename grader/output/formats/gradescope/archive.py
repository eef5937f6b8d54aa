"""Writes the ZIP that Gradescope takes as an autograder: setup.sh, run_autograder, and the grader itself."""

from __future__ import annotations

import json
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from grader.errors import UsageError
from grader.labs import REPOSITORY, Lab

HERE = Path(__file__).resolve().parent
SCRIPTS = ("setup.sh", "run_autograder")
CONFIG, POLICY, PIP_CONF = "autograder.json", "policy.toml", "pip.conf"
DEFAULT_LIMIT_S = 600  # Gradescope's own default
SHORTEST_LIMIT_S = 60
NEEDLESS = ("nbgrader", "copydetect")  # of what the grader installs, grading one submission does without
LEFT_OUT = frozenset({"tests", "desk", "solutions", "__pycache__"})
WHEN = (2020, 1, 1, 0, 0, 0)  # of every entry: the same sources make the same ZIP


def write_autograder(
    archive: Path, lab: Lab, limit_s: int, visibility: str, policy: Path | None = None, pip_conf: Path | None = None
) -> None:
    """Write `archive`. Raises UsageError for a limit that is too short, or a grader without its repository."""
    if limit_s < SHORTEST_LIMIT_S:
        raise UsageError(f"--time-limit takes seconds from {SHORTEST_LIMIT_S} on: importing torch alone takes some")
    if not (REPOSITORY / "constraints.txt").is_file():
        raise UsageError(
            "the autograder's ZIP is made of a checkout of the repository, and this grader is installed "
            "without one: clone it and run the same command there"
        )
    lab.policy(policy)  # so that a mistake in it is told now
    files = {name: (HERE / name).read_bytes() for name in SCRIPTS}
    files |= {name: path.read_bytes() for name, path in _sources(lab)}
    files["requirements.txt"] = "".join(f"{line}\n" for line in requirements()).encode()
    files[CONFIG] = (json.dumps({"lab": lab.package, "limit_s": limit_s, "visibility": visibility}) + "\n").encode()
    for name, path in ((POLICY, policy), (PIP_CONF, pip_conf)):
        if path is not None:
            files[name] = _read(path)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, (0o100755 if name in SCRIPTS else 0o100644) << 16
            file.writestr(entry, content)


def requirements() -> list[str]:
    """What grading needs of the repository's dependencies."""
    data = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    return [line for line in data["project"]["dependencies"] if not line.startswith(NEEDLESS)]


def _sources(lab: Lab) -> Iterator[tuple[str, Path]]:
    """The grader without its tests, and the lab with what was handed out of it, by their names in the ZIP."""
    yield from ((name, REPOSITORY / name) for name in ("constraints.txt", "LICENSE"))
    folders = {
        "grader": REPOSITORY / "grader",
        lab.package.replace(".", "/"): lab.folder,
        **{half.folder: lab.released / half.folder for half in lab.halves},
    }
    for name, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and not LEFT_OUT & set(inside.parts) and not inside.parts[0].startswith("."):
                yield f"{name}/{inside.as_posix()}", path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
