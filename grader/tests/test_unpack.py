"""Intake: messy submissions are staged, hostile and broken ones are refused with a clear message."""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from grader.lab import LAB
from grader.submission import archive, unpack
from grader.submission.encodings import guess, recode
from grader.submission.unpack import Unreadable, stage, submission_id

T1, T2 = "2d_plot_diffusion_todo", "image_diffusion_todo"
PDF = b"%PDF-1.4\n"
FILES = {
    f"{T1}/ddpm.py": b"x = 1\n",
    f"{T1}/network.py": b"x = 2\n",
    f"{T2}/scheduler.py": b"x = 3\n",
    f"{T2}/model.py": b"x = 4\n",
    f"{T2}/network.py": b"x = 5\n",
    "report.pdf": PDF,
}


def zipped(path: Path, files: dict, prefix: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as out:
        for name, content in files.items():
            out.writestr(prefix + name, content)
    return path


def foldered(path: Path, files: dict) -> Path:
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


@pytest.fixture
def staged(tmp_path):
    count = iter(range(100))
    return lambda path: stage(path, tmp_path / f"staged{next(count)}", LAB)


def refused(path: Path, tmp_path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        stage(path, tmp_path / "staged", LAB)
    assert str(tmp_path) not in str(caught.value)  # no paths of this machine
    return str(caught.value)


# --- what must work --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "412551014_lab1/", "a/b/c/", "./", "作業一/"])
def test_halves_are_found_under_any_number_of_top_folders(tmp_path, staged, prefix):
    found = staged(zipped(tmp_path / "412551014_lab1.zip", FILES, prefix))
    assert found.id == "412551014"
    assert {key: Path(half).name for key, half in found.halves.items()} == {"task1": T1, "task2": T2}
    assert (found.root / found.halves["task1"] / "ddpm.py").read_bytes() == b"x = 1\n"
    assert found.report is not None
    assert found.report.read_bytes() == PDF
    assert found.remarks == []


def test_a_folder_and_zips_of_it_have_one_sha(tmp_path, staged):
    folder = staged(foldered(tmp_path / "412551014", FILES))
    plain = staged(zipped(tmp_path / "a_lab1.zip", FILES))
    wrapped = staged(zipped(tmp_path / "b_lab1.zip", dict(reversed(FILES.items())), "top/", zipfile.ZIP_STORED))
    other = staged(zipped(tmp_path / "c_lab1.zip", FILES | {f"{T1}/ddpm.py": b"x = 9\n"}))
    assert folder.id == "412551014"
    assert folder.sha256 == plain.sha256 == wrapped.sha256 != other.sha256
    assert len(folder.sha256) == 64


def test_junk_is_left_out(tmp_path, staged):
    junk = [
        f"__MACOSX/{T1}/._ddpm.py",
        ".DS_Store",
        f"{T1}/._network.py",
        f"{T1}/__pycache__/ddpm.cpython-311.pyc",
        ".git/HEAD",
        f"{T2}/.ipynb_checkpoints/model-checkpoint.py",
        ".venv/bin/activate",
        "myenv/pyvenv.cfg",
        "myenv/lib/ddpm.py",
    ]
    found = staged(zipped(tmp_path / "x_lab1.zip", FILES | dict.fromkeys(junk, b"junk")))
    names = {path.relative_to(found.root).as_posix() for path in found.root.rglob("*") if path.is_file()}
    assert names == set(FILES)
    assert found.remarks == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("412551014_lab1.zip", "412551014"),
        ("412551014_Lab1.ZIP", "412551014"),
        ("lab1_412551014.zip", "lab1_412551014"),
        ("412551014 Lab1 (1).zip", "412551014 Lab1 (1)"),
        ("王小明_lab1.zip", "王小明"),
        ("_lab1.zip", "submission"),
        ("..zip", "submission"),
        ("...hidden.zip", "hidden"),
        ("a\nb\u202ec_lab1.zip", "a_b_c"),
        ("a\\b:c.zip", "a_b_c"),
        ("x" * 200 + ".zip", "x" * 100),
        ("學" * 80 + ".zip", "學" * 80),
    ],
)
def test_submission_id(name, expected):
    assert submission_id(Path("somewhere") / name, LAB.suffix) == expected


def test_submission_id_of_a_folder_is_its_name(tmp_path, monkeypatch):
    (tmp_path / "412551014_lab1").mkdir()
    monkeypatch.chdir(tmp_path / "412551014_lab1")
    assert submission_id(Path(), LAB.suffix) == "412551014_lab1"


@pytest.mark.parametrize(
    ("half", "renamed"),
    [
        (T1, "2d_plot_diffusion"),
        (T1, "2D-Plot-Diffusion (todo)"),
        (T1, "task1"),
        (T2, "image_diffusion_todo-main"),
        (T2, "HW part 2"),
    ],
)
def test_a_renamed_half_is_recognised_with_a_remark(tmp_path, staged, half, renamed):
    files = {name.replace(half, renamed): content for name, content in FILES.items()}
    found = staged(zipped(tmp_path / "x_lab1.zip", files))
    assert set(found.halves) == {"task1", "task2"}
    assert found.remarks == [f"the folder '{renamed}' was taken for {half}"]


def test_of_two_copies_the_most_complete_is_graded(tmp_path, staged):
    starter = {
        f"starter/{T1}/ddpm.py": b"raise NotImplementedError\n",
        f"starter/{T1}/network.py": b"",
        f"starter/{T1}/dataset.py": b"",
    }
    found = staged(zipped(tmp_path / "x_lab1.zip", starter | FILES))
    assert found.halves["task1"] == T1
    assert found.remarks == [f"{T1} was handed in 2 times: graded '{T1}', the most complete; not read: 'starter/{T1}'"]


def test_a_half_wrapped_in_its_own_name(tmp_path, staged):
    found = staged(zipped(tmp_path / "x_lab1.zip", FILES, f"{T2}/"))
    assert found.halves["task2"] == f"{T2}/{T2}"
    assert found.halves["task1"] == f"{T2}/{T1}"


def test_a_missing_half_and_report_are_remarks(tmp_path, staged):
    files = {name: content for name, content in FILES.items() if name.startswith(T1)}
    found = staged(zipped(tmp_path / "x_lab1.zip", files))
    assert found.halves == {"task1": T1}
    assert found.report is None
    assert found.remarks == [f"{T2} is missing", "report.pdf is missing"]


def test_another_pdf_is_taken_for_the_report(tmp_path, staged):
    files = {name: content for name, content in FILES.items() if name != "report.pdf"}
    files |= {f"{T1}/ddpm_paper.pdf": PDF, "412551014_Report.pdf": PDF}
    found = staged(zipped(tmp_path / "x_lab1.zip", files))
    assert found.report == found.root / "412551014_Report.pdf"
    assert found.remarks == ["no report.pdf: '412551014_Report.pdf' was taken for the report"]


def test_a_report_that_is_no_pdf_is_a_remark(tmp_path, staged):
    found = staged(zipped(tmp_path / "x_lab1.zip", FILES | {"report.pdf": b"PK\3\4 a word file"}))
    assert found.remarks == ["'report.pdf' is not a PDF file"]


def test_a_zip_inside_the_zip_is_unpacked_once(tmp_path, staged):
    inner = zipped(tmp_path / "inner.zip", {k: v for k, v in FILES.items() if k != "report.pdf"}).read_bytes()
    outer = {
        "code.zip": inner,
        "report.pdf": PDF,
        "figures.zip": zipped(tmp_path / "f.zip", {"a.png": b""}).read_bytes(),
    }
    found = staged(zipped(tmp_path / "x_lab1.zip", outer))
    assert found.halves["task1"] == f"code.zip.unpacked/{T1}"
    assert found.remarks == ["'code.zip', a ZIP inside the submission, was unpacked"]
    deeper = zipped(tmp_path / "y_lab1.zip", {"a.zip": zipped(tmp_path / "m.zip", {"code.zip": inner}).read_bytes()})
    assert "holds neither" in refused(deeper, tmp_path)


def test_a_hostile_zip_inside_costs_only_itself(tmp_path, staged):
    evil = zipped(tmp_path / "evil.zip", {f"{T2}/scheduler.py": b"", "../../escape.py": b""}).read_bytes()
    files = {name: content for name, content in FILES.items() if not name.startswith(T2)} | {"part2.zip": evil}
    found = staged(zipped(tmp_path / "x_lab1.zip", files))
    assert set(found.halves) == {"task1"}
    assert "'part2.zip' inside the submission was not read: the name '../../escape.py'" in found.remarks[0]


COMMENT = "# 計算前向過程的雜訊，回傳結果\n"
SIMPLE = "# 计算前向过程的噪声，返回结果\n"


@pytest.mark.parametrize(
    ("raw", "was"),
    [
        (b"\xef\xbb\xbf" + COMMENT.encode(), "UTF-8 with a BOM"),
        (COMMENT.encode("utf-16"), "UTF-16"),
        ((COMMENT + "x = 1\n" * 20).encode("utf-16-le"), "UTF-16"),
        (COMMENT.encode("big5"), "Big5"),
        (SIMPLE.encode("gbk"), "GBK"),
        ((b"# -*- coding: gbk -*-\n" + SIMPLE.encode("gbk")), "gbk"),
        ((b"#!/usr/bin/env python\n# coding=utf-8\n" + COMMENT.encode("big5")), "Big5"),
        (b"# caf\xe9 \xff\n", "an unknown encoding (read as Latin-1)"),
        (b"# coding: idna\n" + COMMENT.encode("big5"), "Big5"),
    ],
)
def test_source_is_recoded_with_a_remark(tmp_path, staged, raw, was):
    found = staged(zipped(tmp_path / "x_lab1.zip", FILES | {f"{T1}/ddpm.py": raw}))
    source = (found.root / T1 / "ddpm.py").read_bytes()
    compile(source, "ddpm.py", "exec")  # a cookie that is left must agree
    text = source.decode()
    assert not text.startswith("\ufeff")
    assert "caf" in text or COMMENT in text or SIMPLE in text
    assert found.remarks == [f"'{T1}/ddpm.py' was in {was}; it was read as UTF-8 after conversion"]


def test_crlf_becomes_lf_without_a_remark(tmp_path, staged):
    found = staged(zipped(tmp_path / "x_lab1.zip", FILES | {f"{T1}/ddpm.py": b"x = 1\r\ny = 2\r\n"}))
    assert (found.root / T1 / "ddpm.py").read_bytes() == b"x = 1\ny = 2\n"
    assert found.remarks == []


def test_notebooks_and_data_keep_their_bytes(tmp_path, staged):
    found = staged(
        zipped(tmp_path / "x_lab1.zip", FILES | {f"{T1}/a.ipynb": b"{}\r\n", f"{T1}/b.npz": b"\xff\xfe\r\n"})
    )
    assert (found.root / T1 / "a.ipynb").read_bytes() == b"{}\r\n"
    assert (found.root / T1 / "b.npz").read_bytes() == b"\xff\xfe\r\n"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("實驗結果與說明", "big5"),
        ("实验结果与说明", "gbk"),
        ("實驗結果", "utf-8"),
        ("café", "cp437"),
        ("成功許功蓋", "big5"),
    ],
)
def test_names_without_the_utf8_flag(tmp_path, staged, name, encoding):
    path = tmp_path / "x_lab1.zip"
    raw = name.encode(encoding)
    placeholder = "N" * len(raw)
    path.write_bytes(
        zipped(path, FILES | {f"{T1}/{placeholder}.txt": b"1"}).read_bytes().replace(placeholder.encode(), raw)
    )
    found = staged(path)
    assert (found.root / T1 / f"{name}.txt").read_bytes() == b"1"


def test_backslashes_of_old_windows_tools_are_separators(tmp_path, staged):
    found = staged(zipped(tmp_path / "x_lab1.zip", {name.replace("/", "\\"): v for name, v in FILES.items()}))
    assert found.halves == {"task1": T1, "task2": T2}


def test_odd_modes_become_ordinary_ones(tmp_path, staged):
    path = tmp_path / "x_lab1.zip"
    with zipfile.ZipFile(path, "w") as out:
        for name, content in FILES.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o4000) << 16
            out.writestr(info, content)
    before = os.umask(0o077)
    try:
        found = staged(path)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in found.root.rglob("*") if p.is_file()} == {0o644}
    assert {stat.S_IMODE(p.stat().st_mode) for p in (found.root, found.root / T1)} == {0o755}


def test_links_of_a_folder_are_not_followed(tmp_path, staged):
    folder = foldered(tmp_path / "412551014", FILES)
    (tmp_path / "secret").write_text("secret")
    (folder / "secret").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    found = staged(folder)
    assert not any((found.root / name).exists() for name in ("secret", "up", "pipe"))
    assert found.remarks == [
        "left out 'pipe', which is not a regular file",
        "left out 'secret', which is a link",
        "left out 'up', which is a link",
    ]


def test_large_files_that_are_not_code_are_left_out(tmp_path, staged, monkeypatch):
    monkeypatch.setattr(unpack, "MAX_FILE", 1000)
    found = staged(zipped(tmp_path / "x_lab1.zip", FILES | {"last.ckpt": bytes(2000)}))
    assert not (found.root / "last.ckpt").exists()
    assert found.remarks == ["left out 'last.ckpt' (0 MiB): too large"]
    message = refused(zipped(tmp_path / "y_lab1.zip", FILES | {f"{T1}/big.py": b"#" * 2000}), tmp_path)
    assert message.startswith(f"'{T1}/big.py' would unpack to")


def test_many_files_over_the_total_leave_out_the_largest(tmp_path, staged):
    folder = foldered(tmp_path / "412551014", FILES)
    for number in range(6):
        with (folder / f"{number}.bin").open("wb") as file:
            file.truncate((190 + number) * archive.MIB)
    staging = unpack.Staging(tmp_path)
    with archive.Archive(folder) as source:
        kept = unpack._affordable(source.entries(), staging)
    assert {entry.name for entry in kept} == set(FILES) | {f"{n}.bin" for n in range(5)}
    assert staging.remarks == ["left out '5.bin' (195 MiB): too large"]


def test_remarks_are_limited(tmp_path, staged):
    files = FILES | {f"{T1}/m{number}.py": b"\xef\xbb\xbf" for number in range(50)}
    found = staged(zipped(tmp_path / "x_lab1.zip", files))
    assert len(found.remarks) == 20
    assert found.remarks[-1] == "... and 31 more remarks on the files"


# --- what must be refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x_lab1.zip is an empty file, not a ZIP: hand in a complete ZIP"),
        (b"hello", "x_lab1.zip is not a ZIP: hand in a complete ZIP"),
        (b"Rar!\x1a\7\0", "x_lab1.zip is a RAR archive, not a ZIP: hand in a complete ZIP"),
        (b"7z\xbc\xaf\x27\x1c", "x_lab1.zip is a 7z archive, not a ZIP: hand in a complete ZIP"),
        (b"%PDF-1.4", "x_lab1.zip is a PDF, not a ZIP: hand in a complete ZIP"),
    ],
)
def test_not_a_zip(tmp_path, content, message):
    path = tmp_path / "x_lab1.zip"
    path.write_bytes(content)
    assert refused(path, tmp_path) == message


def test_a_path_that_does_not_exist(tmp_path):
    assert refused(tmp_path / "x_lab1.zip", tmp_path) == "cannot read x_lab1.zip: No such file or directory"


def test_truncated(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES)
    path.write_bytes(path.read_bytes()[:-60])
    assert "is a ZIP that breaks off before its end" in refused(path, tmp_path)


def test_a_hole_in_the_middle(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES)
    raw = path.read_bytes()
    path.write_bytes(raw[:40] + raw[200:])
    assert "make the ZIP anew" in refused(path, tmp_path)


def test_wrong_checksum_names_the_entry(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES, compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"x = 3", b"x = 7"))
    assert refused(path, tmp_path).startswith(f"'{T2}/scheduler.py' cannot be read from x_lab1.zip (Bad CRC-32")


def patched_flags(path: Path, flag: int) -> Path:
    raw = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = raw.find(magic)
        while at >= 0:
            raw[at + offset] |= flag
            at = raw.find(magic, at + 4)
    path.write_bytes(raw)
    return path


def test_encrypted(tmp_path):
    path = patched_flags(zipped(tmp_path / "x_lab1.zip", FILES), 1)
    assert refused(path, tmp_path) == f"'{T1}/ddpm.py' is encrypted: make the ZIP without a password"


@pytest.mark.parametrize(
    "name",
    [
        "../escape.py",
        "a/../../escape.py",
        "/etc/passwd",
        "C:\\escape.py",
        "C:/escape.py",
        "..\\escape.py",
        "\\\\server\\share\\x",
        f"{T1}\\..\\..\\x.py",
        "//x",
        "__MACOSX/../../x",
    ],
)
def test_traversal(tmp_path, name):
    path = zipped(tmp_path / "x_lab1.zip", FILES | {name: b"evil"})
    assert refused(path, tmp_path) == (
        f"the name '{name}' points outside of the submission: use relative names without '..'"
    )
    assert not list(tmp_path.glob("**/escape*"))


def test_nul_in_a_name(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES | {"aXb.py": b""})
    path.write_bytes(path.read_bytes().replace(b"aXb.py", b"a\0b.py"))
    assert "NUL character" in refused(path, tmp_path)


@pytest.mark.parametrize(
    ("kind", "text"),
    [(stat.S_IFLNK, "a symbolic link"), (stat.S_IFIFO, "a special file"), (stat.S_IFCHR, "a special file")],
)
def test_links_and_special_files(tmp_path, kind, text):
    path = zipped(tmp_path / "x_lab1.zip", FILES)
    with zipfile.ZipFile(path, "a") as out:
        info = zipfile.ZipInfo(f"{T1}/data")
        info.external_attr = (kind | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    assert refused(path, tmp_path) == f"'{T1}/data' is {text}: put the file itself into the ZIP"


def test_a_bomb_by_ratio(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES | {"zeros.bin": bytes(50 * archive.MIB)})
    assert refused(path, tmp_path) == (
        "'zeros.bin' would unpack to 50 MiB, more than 200 times its packed size, as in a ZIP bomb: leave it out"
    )


def test_a_bomb_that_lies_about_its_size(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES | {"zeros.bin": bytes(50 * archive.MIB)})
    lie, truth = struct.pack("<L", 1000), struct.pack("<L", 50 * archive.MIB)
    path.write_bytes(path.read_bytes().replace(truth, lie))
    assert refused(path, tmp_path).startswith("'zeros.bin' cannot be read from x_lab1.zip (Bad CRC-32")
    assert sum(p.stat().st_size for p in (tmp_path / "staged").rglob("*") if p.is_file()) < archive.MIB


def test_overlapping_entries(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES)
    raw = bytearray(path.read_bytes())
    second = raw.find(b"PK\1\2", raw.find(b"PK\1\2") + 4)
    raw[second + 42 : second + 46] = struct.pack("<L", 0)  # the second entry starts where the first does
    path.write_bytes(raw)
    assert "overlap, as in a ZIP bomb" in refused(path, tmp_path)


def test_bzip2_is_not_inflated(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES, compression=zipfile.ZIP_BZIP2)
    assert "rare compression (method 12)" in refused(path, tmp_path)


@pytest.mark.parametrize(("count", "shown"), [(10_001, "10,007"), (100_000, "65,535 or more")])
def test_too_many_entries_are_refused_unparsed(tmp_path, monkeypatch, count, shown):
    path = tmp_path / "x_lab1.zip"
    if count == 100_000:  # a hundred thousand real headers, made by hand: zipfile needs long for them
        header = b"PK\1\2" + bytes(24) + struct.pack("<HHHHHLL", 1, 0, 0, 0, 0, 0, 0) + b"a"
        end64 = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, count, count, 47 * count, 0)
        path.write_bytes(
            header * count
            + end64
            + b"PK\6\7"
            + struct.pack("<LQL", 0, 47 * count, 1)
            + b"PK\5\6"
            + struct.pack("<HHHHLLH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        )
    else:
        zipped(path, FILES | {f"{number}": b"" for number in range(count)}, compression=zipfile.ZIP_STORED)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # not even listed
    message = refused(path, tmp_path)
    assert message.startswith(f"x_lab1.zip has {shown} entries, at most 10,000 are read: leave out data")


def test_a_lie_about_the_number_of_entries(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", {f"{n}": b"" for n in range(10_001)}, compression=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[-14:-10] = struct.pack("<HH", 5, 5)
    path.write_bytes(raw)
    assert "x_lab1.zip has 10,001 entries" in refused(path, tmp_path)


def test_too_many_files_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_ENTRIES", 5)
    assert "412551014 has 6 entries" in refused(foldered(tmp_path / "412551014", FILES), tmp_path)


def test_duplicates_that_disagree(tmp_path, staged):
    path = tmp_path / "x_lab1.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as out:
        warnings.simplefilter("ignore")  # zipfile warns of just this
        for name, content in [*FILES.items(), *FILES.items()]:
            out.writestr(name, content)
    assert staged(path).halves == {"task1": T1, "task2": T2}  # the same twice is harmless
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as out:
        warnings.simplefilter("ignore")
        out.writestr(f"{T1}/./ddpm.py", b"other")
    assert f"two different files named '{T1}/ddpm.py'" in refused(path, tmp_path)


def test_a_file_that_is_also_a_folder(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", FILES | {"a": b"1", "a/b": b"2"})
    assert refused(path, tmp_path) == "the ZIP holds 'a' both as a file and as a folder: make the ZIP anew"


@pytest.mark.parametrize("name", ["n" * 300, "學" * 100, "/".join(["d" * 100] * 12)])
def test_long_names(tmp_path, name):
    assert "is too long" in refused(zipped(tmp_path / "x_lab1.zip", FILES | {name: b""}), tmp_path)


def test_no_half_at_all_says_what_was_found(tmp_path):
    path = zipped(tmp_path / "x_lab1.zip", {"hw/notes.txt": b"", "report.pdf": PDF})
    assert refused(path, tmp_path) == (
        f"x_lab1.zip holds neither {T1} nor {T2}: found 'hw', 'report.pdf'. "
        "Hand in a ZIP with both folders and report.pdf"
    )
    assert "found no files" in refused(zipped(tmp_path / "y_lab1.zip", {}), tmp_path / "other")


def test_random_damage_never_escapes_as_another_error(tmp_path):
    whole = zipped(tmp_path / "w.zip", FILES).read_bytes()
    path = tmp_path / "x_lab1.zip"
    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xA5]) + whole[position + 1 :])
        try:
            stage(path, tmp_path / f"s{position}", LAB)
        except Unreadable:
            continue


# --- encodings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("plain", "ascii", "utf-8"),
        ("作業", "utf-8", "utf-8"),
        ("擴散模型的前向過程", "big5", "cp950"),
        ("扩散模型的前向过程", "gbk", "gb18030"),
    ],
)
def test_guess(text, encoding, expected):
    assert guess(text.encode(encoding)) == expected


def test_recode_leaves_plain_source_alone():
    raw = io.BytesIO(b"# -*- coding: utf-8 -*-\nx = 1\n").getvalue()
    assert recode(raw) == (raw, None)
