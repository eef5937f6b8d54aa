"""Features are pytorch_fid's on the same weights; weights files of every kind are read, refused or asked for."""

import io
import platform
import subprocess
import sys
import urllib.error

import numpy as np
import pytest
import torch
from fid_samples import make_images, small_weights
from safetensors.torch import save_file

from grader.errors import UsageError
from grader.fid import weights as weights_module
from grader.fid.extractor import Extractor, memory_kept
from grader.fid.images import decode
from grader.fid.inception import Inception
from grader.fid.weights import FILE, default_weights, find_weights, load_weights, seeded_inception
from grader.tests.memory import faults_of_new_tensors, resident_pages


@pytest.fixture(scope="module")
def state():
    return seeded_inception(0)


@pytest.fixture(scope="module")
def theirs(state):
    """pytorch_fid's own network on the seeded weights, which it believes to have fetched."""
    inception = pytest.importorskip("pytorch_fid.inception")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda url, progress: state)
        return inception.InceptionV3([3]).eval()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_weights(tmp_path_factory.mktemp("weights") / "small.pt")


def test_features_are_those_of_pytorch_fid(state, theirs):
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(images)[0][:, :, 0, 0]
        found = Inception(state, torch.device("cpu"))(images)
    # float32 through 94 convolutions in another order: 4e-6 measured for features around 1
    assert torch.allclose(found, expected, rtol=0, atol=5e-5)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_memory_is_kept_while_features_are_computed_and_not_after():
    with memory_kept():
        assert faults_of_new_tensors() < 20_000  # without, 98,000
        held = resident_pages()
    assert resident_pages() < held - 5_000  # of 4 kB: half of the last tensor


def test_batch_norms_that_do_something_are_folded(state, theirs):
    generator = torch.Generator().manual_seed(2)
    changed = {
        name: value * (0.8 + 0.4 * torch.rand(value.shape, generator=generator))
        if ".bn." in name and value.is_floating_point()
        else value
        for name, value in state.items()
    }
    for name in changed:
        if name.endswith("running_mean"):
            changed[name] = 0.2 * torch.randn(changed[name].shape, generator=generator)
    inception = pytest.importorskip("pytorch_fid.inception")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda url, progress: changed)
        network = inception.InceptionV3([3]).eval()
    images = torch.rand(2, 3, 32, 48, generator=generator)
    with torch.inference_mode():
        expected = network(images)[0][:, :, 0, 0]
        found = Inception(changed, torch.device("cpu"))(images)
    assert (found - expected).abs().max() <= 5e-5 * expected.abs().max()


def test_seeded_weights_can_stand_in_for_pytorch_fids_file(state):
    inception = pytest.importorskip("pytorch_fid.inception")
    published = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None).state_dict()
    assert {name: value.shape for name, value in published.items()} == {n: v.shape for n, v in state.items()}
    assert torch.equal(seeded_inception(0)["fc.bias"], state["fc.bias"])


def test_the_same_features_whatever_the_batch_size(small, tmp_path):
    make_images(tmp_path, 5, seed=0, falloff=1)
    images = [decode(file).pixels for file in sorted(tmp_path.iterdir())]
    done = []
    name, one = Extractor.open(small, batch_size=1).features(images, done.append)
    _, all_at_once = Extractor.open(small, batch_size=32).features(images, lambda count: None)
    assert (name, one.shape, one.dtype, done) == ("small-inception", (5, 256), np.float32, [1, 2, 3, 4, 5])
    assert one == pytest.approx(all_at_once, abs=1e-5)


def test_images_of_several_sizes_keep_their_order(small):
    images = [np.full((side, side, 3), side, np.uint8) for side in (64, 64, 80, 64)]
    _, found = Extractor.open(small, batch_size=3).features(images, lambda count: None)
    alone = [Extractor.open(small).features([image], lambda count: None)[1][0] for image in images]
    assert found == pytest.approx(np.stack(alone), abs=1e-5)


# --- files


@pytest.mark.parametrize("form", ["published", "module", "prefixed", "nested", "safetensors"])
def test_state_dicts_of_inception_are_read_under_every_name(state, theirs, tmp_path, form):
    tensors = {name: value for name, value in state.items() if name.startswith(("Conv2d_1a", "Mixed_7c"))}
    heads = ("blocks.0.0", "blocks.3.2")
    blocks = {name: value for name, value in theirs.state_dict().items() if name.startswith(heads)}
    content = {
        "published": tensors,
        "module": blocks,
        "safetensors": tensors,
        "prefixed": {f"module.inception.{name}": value for name, value in blocks.items()}
        | {"module.linear.weight": torch.zeros(3, 2048)},
        "nested": {"epoch": 3, "state_dict": tensors},
    }[form]
    file = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    save_file(content, file) if form == "safetensors" else torch.save(content, file)
    name, found = load_weights(file)
    assert name == "inception-v3"
    assert set(found) == set(tensors)
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


def test_the_small_inception_is_read_with_and_without_its_name(small, tmp_path):
    name, state = load_weights(small)
    torch.save(state, tmp_path / "bare.pt")
    assert name == load_weights(tmp_path / "bare.pt")[0] == "small-inception"


class Whole:
    """Stands in for a pickled model: reading it would run code."""


def test_a_checkpoint_that_needs_unpickling_is_refused_with_the_way_to_convert_it(tmp_path):
    file = tmp_path / "model.ckpt"
    torch.save(Whole(), file)
    with pytest.raises(UsageError) as caught:
        load_weights(file)
    assert str(caught.value) == (
        f"{file} is not a plain state dict: reading it would run code that it carries, which is refused.\n"
        "convert it where you trust its maker: "
        "python -c \"import torch; made = torch.load('FILE', weights_only=False); "
        "torch.save(made.state_dict() if hasattr(made, 'state_dict') else made['state_dict'], 'weights.pt')\""
    )


def test_the_way_to_convert_works(tmp_path):
    model = torch.nn.Conv2d(3, 4, 1)
    torch.save(model, tmp_path / "FILE")
    code = weights_module.CONVERT.split('"')[1]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert torch.equal(torch.load(tmp_path / "weights.pt", weights_only=True)["weight"], model.weight)


def test_files_that_are_no_weights_are_told_apart(tmp_path, state):
    whole = io.BytesIO()
    torch.save({"Conv2d_1a_3x3.conv.weight": state["Conv2d_1a_3x3.conv.weight"]}, whole)
    contents = {"cut.pt": whole.getvalue()[:2000], "empty.pt": b"", "text.pt": b"hello", "text.safetensors": b"hello"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=rf"{name} (cannot be read as weights|is not a plain state dict)"):
            load_weights(tmp_path / name)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UsageError, match=r"other.pt holds no Inception that is known here.*\(but weight\)"):
        load_weights(tmp_path / "other.pt")
    torch.save({"arch": "vgg", "state_dict": {}}, tmp_path / "vgg.pt")
    with pytest.raises(UsageError, match="unknown arch 'vgg'; known are inception-v3 and small-inception"):
        load_weights(tmp_path / "vgg.pt")


def test_a_missing_and_a_misshapen_tensor_are_named(state):
    lacking = {name: value for name, value in state.items() if name != "Mixed_6b.branch1x1.conv.weight"}
    with pytest.raises(UsageError, match=r"the weights lack Mixed_6b.branch1x1.conv.weight"):
        Inception(lacking, torch.device("cpu"))
    with pytest.raises(UsageError, match=r"Mixed_6b.branch1x1.conv.weight has shape \(2, 2\), an InceptionV3 has"):
        Inception(state | {"Mixed_6b.branch1x1.conv.weight": torch.zeros(2, 2)}, torch.device("cpu"))


def test_weights_that_are_not_numbers_are_refused(small, tmp_path):
    content = torch.load(small, weights_only=True)
    content["state_dict"]["stem.0.conv.weight"].fill_(float("nan"))
    torch.save(content, tmp_path / "nan.pt")
    with pytest.raises(UsageError, match=r"nan.pt: these weights give features that are not finite numbers"):
        Extractor.open(tmp_path / "nan.pt").features([np.zeros((64, 64, 3), np.uint8)], lambda count: None)


# --- fetching


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints" / FILE


def served(monkeypatch, content):
    fetched = []

    def open_url(url, timeout):
        fetched.append(url)
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr("urllib.request.urlopen", open_url)
    return fetched


def test_weights_are_fetched_once_and_verified(home, monkeypatch, capsys):
    monkeypatch.setattr(weights_module, "CHECKSUM", "2cf24dba")  # of "hello"
    fetched = served(monkeypatch, b"hello")
    assert default_weights() == default_weights() == home
    assert (home.read_bytes(), fetched) == (b"hello", [weights_module.URL])
    assert "fetching the Inception weights of pytorch-fid" in capsys.readouterr().err


def test_without_a_network_the_message_says_where_the_file_goes(home, monkeypatch):
    served(monkeypatch, urllib.error.URLError("Name or service not known"))
    with pytest.raises(UsageError) as caught:
        default_weights()
    assert str(caught.value) == (
        f"the Inception weights cannot be fetched from {weights_module.URL} (Name or service not known).\n"
        f"Put the file at {home}, or give the file with --weights PATH"
    )
    assert list(home.parent.iterdir()) == []


def test_another_file_than_the_published_one_is_not_kept(home, monkeypatch):
    served(monkeypatch, b"a captive portal")
    with pytest.raises(UsageError, match="is not the published file"):
        default_weights()
    assert not home.exists()


def test_a_damaged_file_is_not_used(home):
    home.parent.mkdir(parents=True)
    home.write_bytes(b"cut short")
    with pytest.raises(UsageError, match="is damaged or not pytorch-fid's"):
        default_weights()


def test_a_weights_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no such weights file: .*absent.pt"):
        find_weights(tmp_path / "absent.pt")
