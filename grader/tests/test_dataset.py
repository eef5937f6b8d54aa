"""The lab's data sets: layout, cache, eval folder, broken images, and the download from a server on this machine."""

import gzip
import http.server
import io
import json
import os
import shutil
import struct
import threading
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from grader.tests.lab import load_half


@pytest.fixture(scope="module")
def lab():
    return load_half("image_diffusion_todo")


@pytest.fixture(autouse=True)
def cache(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(lab.dataset, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def picture(seed, size=(24, 24), mode="RGB"):
    colours = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).convert(mode)


def make_afhq(folder, per_class=4, size=(24, 24)):
    for split in ("train", "val"):
        for number, name in enumerate(("cat", "dog", "wild")):
            (folder / split / name).mkdir(parents=True)
            for i in range(per_class):
                picture(100 * number + i, size).save(folder / split / name / f"{i}.jpg")
    return folder


@pytest.fixture
def afhq(tmp_path):
    return make_afhq(tmp_path / "afhq")


def test_images_are_uint8_of_the_asked_size_and_at_most_so_many_of_each_class(lab, afhq):
    images = lab.dataset.training_images("afhq", afhq, 16, max_per_class=3)
    assert images.dtype == torch.uint8
    assert images.shape == (9, 3, 16, 16)


def test_the_resize_is_antialiased(lab):
    fine = np.zeros((64, 64, 3), np.uint8)
    fine[::2] = 255  # lines one pixel wide: every fourth pixel alone would be black or white
    small = lab.engine.images.to_square(Image.fromarray(fine), 16)
    assert 100 < small.min() <= small.max() < 155


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_images_of_every_mode_and_shape_become_square_rgb(lab, mode):
    assert lab.engine.images.to_square(picture(1, (30, 20), mode), 8).shape == (3, 8, 8)


def test_a_grey_image_has_three_equal_channels(lab):
    red, green, blue = lab.engine.images.to_square(picture(1, mode="L"), 8)
    assert (red == green).all()
    assert (red == blue).all()


def test_values_go_to_the_network_s_range_and_back(lab):
    values = torch.arange(256, dtype=torch.uint8)
    x = lab.engine.images.to_network(values)
    assert (x.min().item(), x.max().item()) == (-1, 1)
    assert torch.equal(lab.engine.images.to_pixels(x), values)
    assert lab.engine.images.to_pixels(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_no_image_is_decoded_twice(lab, afhq, monkeypatch):
    first = lab.dataset.training_images("afhq", afhq, 16)
    monkeypatch.setattr(lab.dataset, "read_image", None)
    assert torch.equal(lab.dataset.training_images("afhq", afhq, 16), first)


@pytest.mark.parametrize("change", ["add", "remove", "overwrite", "damage the cache", "lose the JSON"])
def test_the_cache_is_made_anew_after_a_change(lab, afhq, cache, change):
    before = lab.dataset.training_images("afhq", afhq, 16)
    (array,) = cache.glob("*.npy")
    if change == "add":
        picture(7).save(afhq / "train" / "cat" / "new.jpg")
    elif change == "remove":
        (afhq / "train" / "cat" / "0.jpg").unlink()
    elif change == "overwrite":
        picture(8).save(afhq / "train" / "cat" / "0.jpg")
        os.utime(afhq / "train" / "cat" / "0.jpg", ns=(1, 1))
    elif change == "damage the cache":
        array.write_bytes(array.read_bytes()[:200])
    else:
        array.with_suffix(".json").unlink()
    after = lab.dataset.training_images("afhq", afhq, 16)
    assert len(after) == {"add": 13, "remove": 11}.get(change, 12)
    assert torch.equal(after, before) == (change in ("damage the cache", "lose the JSON"))
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".npy"]


def test_a_cache_is_found_again_where_the_folder_was_copied_to(lab, afhq, cache, tmp_path, monkeypatch):
    """Its key depends on the images, and neither on paths nor on times of one machine."""
    before = lab.dataset.training_images(data_dir=afhq, image_size=8)
    elsewhere = tmp_path / "elsewhere" / afhq.name
    shutil.copytree(afhq, elsewhere, copy_function=shutil.copyfile)  # the times are new
    monkeypatch.setattr(lab.dataset, "decode_files", lambda *_: pytest.fail("it was decoded again"))
    assert torch.equal(lab.dataset.training_images(data_dir=elsewhere, image_size=8), before)


def test_a_cache_that_cannot_be_written_costs_time_only(lab, afhq, cache, capsys):
    cache.write_text("a file where the folder should be")
    assert len(lab.dataset.training_images("afhq", afhq, 16)) == 12
    assert "no cache was written" in capsys.readouterr().err


def test_a_broken_image_is_named_and_left_out_every_time(lab, tmp_path, capsys):
    afhq = make_afhq(tmp_path / "many", per_class=10)
    broken = afhq / "train" / "dog" / "3.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    for _ in range(2):  # decoded, then from the cache
        assert len(lab.dataset.training_images("afhq", afhq, 16)) == 29
        said = capsys.readouterr().err
        assert f"1 of 30 images in {afhq} cannot be read:\n  dog/3.jpg: " in said
        assert "They are left out. Unpack the archive again" in said


def test_many_broken_images_are_an_error(lab, afhq):
    for path in (afhq / "train" / "dog").iterdir():
        path.write_bytes(b"<html>404</html>")
    with pytest.raises(lab.engine.errors.LabError, match=r"(?s)4 of 12 images in .* too many to go on without"):
        lab.dataset.training_images("afhq", afhq, 16)


def test_a_wrong_layout_says_what_is_expected(lab, tmp_path):
    error = lab.engine.errors.LabError
    with pytest.raises(error, match=r"train is not there. Expected are train/ and val/ with one folder each"):
        lab.dataset.training_images("afhq", tmp_path, 16)
    make_afhq(tmp_path / "afhq")
    with pytest.raises(error, match=f"use --data_dir {tmp_path}/afhq"):
        lab.dataset.training_images("afhq", tmp_path, 16)
    (tmp_path / "flat" / "train").mkdir(parents=True)
    with pytest.raises(error, match="train holds no images"):
        lab.dataset.training_images("afhq", tmp_path / "flat", 16)
    picture(1).save(tmp_path / "flat" / "train" / "a.jpg")
    with pytest.raises(error, match=r"1 images lie in .*train itself, not in folders"):
        lab.dataset.training_images("afhq", tmp_path / "flat", 16)
    with pytest.raises(error, match="unknown dataset 'celeba'; known are afhq, cifar10, mnist, fashion_mnist"):
        lab.dataset.training_images("celeba", tmp_path, 16)


def test_eval_is_made_once_from_all_validation_images(lab, afhq):
    target = lab.dataset.make_eval("afhq", afhq, 16)
    assert target == afhq / "eval"
    names = sorted(path.name for path in target.iterdir())
    assert names == [*(f"{i:05d}.png" for i in range(12)), "eval.json"]
    when = (target / "00000.png").stat().st_mtime_ns
    lab.dataset.make_eval("afhq", afhq, 16)
    assert (target / "00000.png").stat().st_mtime_ns == when
    made = np.asarray(Image.open(target / "00000.png"))
    assert (made.transpose(2, 0, 1) == lab.engine.images.read_image(afhq / "val" / "cat" / "0.jpg", 16)).all()
    with pytest.raises(lab.engine.errors.LabError, match=r"eval is there already, .* delete that folder"):
        lab.dataset.make_eval("afhq", afhq, 8)
    assert sorted(path.name for path in afhq.iterdir()) == ["eval", "train", "val"]


def write_mnist(folder, count=7):
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for prefix in ("train", "t10k"):
        images = np.arange(count * 28 * 28, dtype=np.uint32).astype(np.uint8).tobytes()
        for kind, data in (
            ("images-idx3", struct.pack(">4I", 0x803, count, 28, 28) + images),
            ("labels-idx1", struct.pack(">2I", 0x801, count) + bytes(count)),
        ):
            path = folder / "MNIST" / "raw" / f"{prefix}-{kind}-ubyte"
            path.write_bytes(data)
            with gzip.open(f"{path}.gz", "wb") as file:
                file.write(data)


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_by_torchvision_and_made_rgb(lab, tmp_path, packed):
    write_mnist(tmp_path)
    for path in (tmp_path / "MNIST" / "raw").iterdir():
        if packed and path.suffix != ".gz":
            path.unlink()
    images = lab.dataset.training_images("mnist", tmp_path, 16)
    assert images.shape == (7, 3, 16, 16)
    assert images.is_contiguous()
    assert lab.dataset.make_eval("mnist", tmp_path, 16) == tmp_path / "mnist_eval"


def test_every_image_comes_once_an_epoch_in_an_order_that_seed_and_step_fix(lab):
    def batches(seed):
        stream = lab.engine.data.Shuffled(10, 4, seed)
        return torch.cat([stream.batch(step) for step in range(5)])

    assert sorted(batches(0)[:10].tolist()) == sorted(batches(0)[10:].tolist()) == list(range(10))
    assert torch.equal(batches(0), batches(0))
    assert not torch.equal(batches(0), batches(1))
    assert not torch.equal(batches(0)[:10], batches(0)[10:])
    assert torch.equal(lab.engine.data.Shuffled(10, 4, 0).batch(3), batches(0)[12:16])  # a resumed run begins here
    assert len(lab.engine.data.Shuffled(3, 8, 0).batch(5)) == 8  # more images in a batch than there are


class Server:
    """A web server on this machine that knows ranges, and hangs up after `limits` bytes, one limit a request."""

    def __init__(self, contents, limits=(), ranges=True):
        self.requests = []
        limits = list(limits)
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.requests.append(self.headers.get("Range"))
                asked = self.headers.get("Range") if ranges and self.headers.get("If-Range") == '"v1"' else None
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                body = contents[start:]
                if not body:
                    self.send_error(416)
                    return
                self.send_response(206 if asked else 200)
                self.send_header("ETag", '"v1"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: limits.pop(0)] if limits else body)

            def log_message(self, *arguments):
                pass

        self.http = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/afhq.zip"

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


COUNTS = {split: {"cat": 4, "dog": 4, "wild": 4} for split in ("train", "val")}


@pytest.fixture
def archive(tmp_path):
    source = make_afhq(tmp_path / "source" / "afhq")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for path in sorted(source.rglob("*.jpg")):
            opened.write(path, f"afhq/{path.relative_to(source).as_posix()}")
        opened.writestr("../../train/cat/../../evil.jpg", b"outside")
        opened.writestr("afhq/readme.txt", b"not an image")
    return packed.getvalue()


def test_an_interrupted_download_goes_on_where_it_stopped(lab, tmp_path, archive, capsys):
    half = len(archive) // 2
    with Server(archive, limits=[half, 100]) as server:
        lab.engine.download.fetch_afhq(tmp_path / "data" / "afhq", server.url, COUNTS, wait_s=0)
    assert server.requests == [None, f"bytes={half}-", f"bytes={half + 100}-"]
    assert (tmp_path / "data" / "afhq.zip").read_bytes() == archive
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["afhq", "afhq.zip"]
    assert len(list((tmp_path / "data" / "afhq").rglob("*.jpg"))) == 24
    assert not list(tmp_path.rglob("evil.jpg"))
    said = capsys.readouterr().err
    assert "CC BY-NC 4.0" in said
    assert "every image was opened" in said


def test_a_server_without_ranges_begins_anew_and_a_later_call_resumes(lab, tmp_path, archive, monkeypatch):
    monkeypatch.setattr(lab.engine.download, "ATTEMPTS", 1)
    target = tmp_path / "afhq.zip"
    with Server(archive, limits=[1000]) as server:
        with pytest.raises(
            lab.engine.errors.LabError, match=r"could not be fetched .* Run this again to go on from where"
        ):
            lab.engine.download.download(server.url, target, 0)
        lab.engine.download.download(server.url, target, 0)
    assert server.requests == [None, "bytes=1000-"]
    assert target.read_bytes() == archive
    for version in ('"v1"', '"v0"'):  # killed after the last byte; and the file on the server was changed since
        target.rename(tmp_path / "afhq.zip.partial")
        (tmp_path / "afhq.zip.partial.json").write_text(json.dumps({"version": version}))
        with Server(archive) as server:
            lab.engine.download.download(server.url, target, 0)
        assert target.read_bytes() == archive


def test_an_archive_put_there_by_hand_is_used_and_a_complete_folder_needs_none(lab, tmp_path, archive):
    (tmp_path / "afhq.zip").write_bytes(archive)
    nowhere = "http://127.0.0.1:9/afhq.zip"
    lab.engine.download.fetch_afhq(tmp_path / "afhq", nowhere, COUNTS)
    (tmp_path / "afhq.zip").unlink()
    lab.engine.download.fetch_afhq(tmp_path / "afhq", nowhere, COUNTS)


def test_what_is_no_archive_or_not_all_of_it_is_an_error_that_says_what_to_do(lab, tmp_path, archive):
    error = lab.engine.errors.LabError
    with Server(b"<html>moved</html>") as server, pytest.raises(error, match="is no ZIP archive: the address may"):
        lab.engine.download.fetch_afhq(tmp_path / "afhq", server.url, COUNTS, wait_s=0)
    assert list(tmp_path.glob("afhq.zip*")) == []
    with pytest.raises(error, match=r"could not be fetched .* or fetch the archive with a browser, save it as"):
        lab.engine.download.fetch_afhq(tmp_path / "afhq", "http://127.0.0.1:9/afhq.zip", COUNTS, wait_s=0)
    (tmp_path / "afhq.zip").write_bytes(archive)
    more = {**COUNTS, "val": {"cat": 5, "dog": 4, "wild": 4}}
    with pytest.raises(error, match=r"too few or too many images: val/cat has 4 of 5"):
        lab.engine.download.fetch_afhq(tmp_path / "afhq", "", more)
    damaged = tmp_path / "afhq" / "train" / "cat" / "0.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(error, match=rf"1 images cannot be opened, {damaged} the first"):
        lab.engine.download.fetch_afhq(tmp_path / "afhq", "", COUNTS)
