"""The end of what submissions leave behind on the disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from grader.worker.leftovers import remove_tree


def test_a_folder_deeper_than_a_path_may_be_long(tmp_path: Path):
    in_memory = os.access("/dev/shm", os.W_OK)  # removing so many from a disk may take seconds
    top = Path(tempfile.mkdtemp(dir="/dev/shm" if in_memory else tmp_path))
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("a folder", dir_fd=here)
        below = os.open("a folder", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    remove_tree(str(top))
    assert not top.exists()


def test_links_lead_nowhere(tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    top = tmp_path / "top"
    (top / "one" / "two").mkdir(parents=True)
    for name in ("link", "one/link", "one/two/link"):
        (top / name).symlink_to(tmp_path / "kept")
    os.mkfifo(top / "one" / "pipe")
    remove_tree(str(top))
    assert not top.exists()
    assert (tmp_path / "kept" / "file").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_closed_folders_are_opened(tmp_path: Path):
    (tmp_path / "top" / "one" / "two").mkdir(parents=True)
    (tmp_path / "top" / "one" / "two").chmod(0)
    (tmp_path / "top" / "one").chmod(0)
    remove_tree(str(tmp_path / "top"))
    assert not (tmp_path / "top").exists()


def test_nothing_at_all(tmp_path: Path):
    remove_tree(str(tmp_path / "absent"))
