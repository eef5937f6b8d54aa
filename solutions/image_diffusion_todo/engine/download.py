"""Fetches AFHQ (Animal Faces-HQ) and checks what came: a download that goes on where it stopped.

AFHQ is by NAVER Corp. (Choi et al. 2020, StarGAN v2, https://arxiv.org/abs/1912.01865) under CC BY-NC 4.0: use it for
your coursework, name the source where you show its images, and make no commercial use of it.
"""

import http.client
import json
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from engine.errors import LabError
from engine.images import for_each, image_files, read_image

URL = "https://www.dropbox.com/s/t9l9o3vsx2jai3z/afhq.zip?dl=1"
COUNTS = {  # of version 1, which the archive holds
    "train": {"cat": 5153, "dog": 4739, "wild": 4738},
    "val": {"cat": 500, "dog": 500, "wild": 500},
}
ATTEMPTS = 5
BLOCK = 1 << 20  # bytes


def fetch_afhq(folder: Path, url: str = URL, counts: dict[str, dict[str, int]] = COUNTS, wait_s: float = 2.0) -> None:
    """Leaves AFHQ in `folder`, complete and readable. Raises LabError with what to do otherwise."""
    print(__doc__.strip().split("\n\n")[1], file=sys.stderr)
    if not missing(folder, counts):
        print(f"{folder} is complete; no download is needed", file=sys.stderr)
    else:
        archive = folder.parent / "afhq.zip"
        if not archive.is_file():  # one that was put there by hand is used as it is
            download(url, archive, wait_s)
        unpack(archive, folder)
        if absent := missing(folder, counts):
            raise LabError(
                f"after unpacking {archive} there are too few or too many images: {'; '.join(absent)}."
                f" Delete {archive} and {folder} and run this again"
            )
    broken = open_all(folder)
    if broken:
        raise LabError(
            f"{len(broken)} images cannot be opened, {broken[0]} the first of them. Delete"
            " them, and run this again to unpack them anew"
        )
    print(f"AFHQ is in {folder}: every image was opened; afhq.zip beside it is no longer needed", file=sys.stderr)


def download(url: str, archive: Path, wait_s: float = 2.0) -> None:
    """url -> archive, through archive.partial, which a later call goes on with."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(archive.name + ".partial")
    for attempt in range(1, ATTEMPTS + 1):
        before = partial.stat().st_size if partial.is_file() else 0
        try:
            if transfer(url, partial):
                break
            reason = "the connection was closed early"
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing lies beyond what is there: a run was stopped after its last byte
                break
            reason = str(error)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = str(error)
        got = partial.stat().st_size if partial.is_file() else 0
        print(f"attempt {attempt} of {ATTEMPTS}: {reason}; {got / 1e6:.1f} MB are there", file=sys.stderr)
        if attempt < ATTEMPTS:
            time.sleep(wait_s * (1 if got > before else attempt))
    else:
        raise LabError(
            f"{url} could not be fetched ({reason}). Run this again to go on from where it stopped; or"
            f" fetch the archive with a browser, save it as {archive} and run this again"
        )
    about_path(partial).unlink(missing_ok=True)
    if not zipfile.is_zipfile(partial):
        partial.unlink()
        raise LabError(
            f"what came from {url} is no ZIP archive: the address may have moved. Look for AFHQ at"
            f" https://github.com/clovaai/stargan-v2, save it as {archive} and run this again"
        )
    partial.replace(archive)


def transfer(url: str, partial: Path) -> bool:
    """One attempt to complete `partial`; whether it is complete."""
    offset = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "ddpm-lab"})
    if offset and (version := read_version(partial)):
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", version)  # the whole file comes instead if it was changed meanwhile
    with urllib.request.urlopen(request, timeout=60) as answer:
        going_on = answer.status == 206
        offset = offset if going_on else 0
        length = answer.headers.get("Content-Length")
        total = offset + int(length) if length else None
        check_space(partial.parent, (total or 0) - offset)
        if version := answer.headers.get("ETag") or answer.headers.get("Last-Modified"):
            about_path(partial).write_text(json.dumps({"version": version}), encoding="utf-8")
        bar = tqdm(total=total, initial=offset, unit="B", unit_scale=True, desc=partial.name.removesuffix(".partial"))
        with bar, open(partial, "ab" if going_on else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    return total is None or partial.stat().st_size == total


def about_path(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def read_version(partial: Path) -> str | None:
    """Which version of the file the partial one is the beginning of, in the server's words."""
    try:
        return json.loads(about_path(partial).read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError):
        return None


def check_space(folder: Path, needed: int) -> None:
    """The archive is unpacked beside itself, so twice its size must fit."""
    free = shutil.disk_usage(folder).free
    if needed and free < 2 * needed:
        raise LabError(
            f"{folder} has {free / 1e9:.1f} GB free, and {2 * needed / 1e9:.1f} GB are needed for the"
            " archive and its images: make room, or name another place with --data_dir"
        )


def unpack(archive: Path, folder: Path) -> None:
    """The archive's images into folder/train|val/cat|dog|wild, wherever in the archive they lie."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [(member, place) for member in opened.infolist() if (place := place_of(member.filename))]
            for member, place in tqdm(members, "unpacking", unit="img", leave=False):
                target = folder / place  # made of known parts: no name in an archive leads outside `folder`
                if target.is_file() and target.stat().st_size == member.file_size:
                    continue  # of an earlier run that was stopped
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file)
    except zipfile.BadZipFile as error:
        raise LabError(f"{archive} is damaged ({error}): delete it and run this again") from error


def place_of(name: str) -> PurePosixPath | None:
    """train/cat/x.jpg for any/thing/train/cat/x.jpg; None for what is no image of AFHQ."""
    found = re.search(r"(?:^|/)(train|val)/(cat|dog|wild)/([\w.-]+\.(?:jpg|png))$", name)
    return PurePosixPath(*found.groups()) if found else None


def missing(folder: Path, counts: dict[str, dict[str, int]]) -> list[str]:
    """A line for every class whose number of images is not the one expected."""
    lines = []
    for split, classes in counts.items():
        for name, expected in classes.items():
            place = folder / split / name
            found = len(image_files(place)) if place.is_dir() else 0
            if found != expected:
                lines.append(f"{split}/{name} has {found} of {expected}")
    return lines


def open_all(folder: Path) -> list[Path]:
    """The images that cannot be decoded."""
    files = [
        path
        for split in ("train", "val")
        for place in sorted((folder / split).iterdir())
        if place.is_dir()
        for path in image_files(place)
    ]
    return [files[i] for i, _ in for_each(lambda _, path: read_image(path, 64), files, "opening every image")]
