"""sampling.py: the checkpoint's schedule, one random stream an image, stopping and going on; and measure_fid.py."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from grader.tests.lab import SOLUTIONS, load_half

pytestmark = pytest.mark.usefixtures("one_thread")
T = 10


@pytest.fixture(scope="module")
def lab():
    return load_half("image_diffusion_todo")


@pytest.fixture
def checkpoint(lab, tmp_path):
    torch.manual_seed(0)
    network = lab.network.UNet(8, 32, [1, 2], [1], 1)
    module = lab.model.DiffusionModule(network, lab.scheduler.DDPMScheduler(T, 0.01, 0.3, "cosine"), "x0")
    ema = {name: value + 0.1 for name, value in network.named_parameters()}
    lab.engine.checkpoint.save(tmp_path / "last.ckpt", module, {"step": 1}, {"ema": ema})
    return tmp_path / "last.ckpt"


@pytest.fixture
def draw(lab, checkpoint, tmp_path, monkeypatch):
    """Runs sampling.py; returns the images, (N, 8, 8, 3)."""

    def run(name, *arguments):
        monkeypatch.setattr(
            sys,
            "argv",
            [
                "sampling.py",
                "--ckpt_path",
                str(checkpoint),
                "--save_dir",
                str(tmp_path / name),
                "--device",
                "cpu",
                *map(str, arguments),
            ],
        )
        lab.sampling.main()
        return np.stack([np.asarray(Image.open(path)) for path in sorted((tmp_path / name).glob("*.png"))])

    return run


@pytest.mark.parametrize("precision", [[], ["--float32"]])
def test_image_i_is_the_same_whatever_the_batch_size(draw, precision):
    """To one step of 255 at most: sums in batches of other sizes are rounded in another order."""
    apart = [draw(f"b{size}", "--num_images", 5, "--batch_size", size, *precision).astype(int) for size in (1, 2, 5)]
    assert len(np.unique(apart[0], axis=0)) == 5
    for other in apart[1:]:
        assert abs(other - apart[0]).max() <= 1
        assert (other != apart[0]).mean() < 0.02


def test_a_seed_repeats_and_another_one_does_not(draw):
    first = draw("a", "--num_images", 3)
    assert (draw("b", "--num_images", 3) == first).all()
    assert (draw("c", "--num_images", 3, "--seed", 1) != first).any(axis=(1, 2, 3)).all()
    assert (draw("d", "--num_images", 2) == first[:2]).all()


def test_images_that_exist_are_kept_and_only_the_others_drawn(draw, tmp_path, lab, monkeypatch):
    draw("a", "--num_images", 4, "--batch_size", 2)
    (tmp_path / "a" / "00002.png").unlink()
    kept = (tmp_path / "a" / "00001.png").stat().st_mtime_ns
    drawn = []
    real = lab.sampling.sample
    monkeypatch.setattr(
        lab.sampling,
        "sample",
        lambda module, streams, *rest: drawn.append(streams.numbers) or real(module, streams, *rest),
    )
    assert len(draw("a", "--num_images", 5, "--batch_size", 2)) == 5
    assert drawn == [[2, 4]]
    assert (tmp_path / "a" / "00001.png").stat().st_mtime_ns == kept


def test_a_folder_of_other_images_is_refused(draw, lab, tmp_path):
    draw("a", "--num_images", 1)
    with pytest.raises(lab.engine.errors.LabError, match="a has images of another seed: choose another --save_dir"):
        draw("a", "--num_images", 1, "--seed", 1)
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "mine" / "x.png")
    with pytest.raises(lab.engine.errors.LabError, match=r"mine has images that sampling.py did not make"):
        draw("mine", "--num_images", 1)


def test_the_schedule_is_the_checkpoint_s_and_a_wrong_mode_an_error(draw, lab, capsys):
    draw("a", "--num_images", 1, "--mode", "cosine")
    assert "cosine schedule, predictor x0" in capsys.readouterr().err
    with pytest.raises(lab.engine.errors.LabError, match=r"was trained with --mode cosine, and linear was asked for"):
        draw("b", "--num_images", 1, "--mode", "linear")


def test_averaged_weights_are_used_if_there_are_any(lab, checkpoint, draw):
    averaged, _ = lab.engine.checkpoint.load_for_sampling(checkpoint, torch.device("cpu"))
    last, _ = lab.engine.checkpoint.load_for_sampling(checkpoint, torch.device("cpu"), use_ema=False)
    pairs = zip(averaged.network.parameters(), last.network.parameters(), strict=True)
    assert all(torch.equal(a, b + 0.1) for a, b in pairs)
    assert (draw("a", "--num_images", 1) != draw("b", "--num_images", 1, "--no_ema")).any()


def test_the_strip_is_beside_the_samples_and_ends_at_them(draw, tmp_path):
    images = draw("a", "--num_images", 3, "--traj")
    strip = np.asarray(Image.open(tmp_path / "a_trajectory.png"))
    assert strip.shape == (3 * 10 - 2, 10 * 10 - 2, 3)
    for k in range(3):
        assert (strip[10 * k : 10 * k + 8, -8:] == images[k]).all()
    assert len(images) == 3


class TestStreams:
    """The student's own randn_like takes from the images' streams, and nothing else does."""

    def streams(self, lab, numbers, seed=0):
        return lab.engine.noise.OneStreamPerImage(seed, numbers, (3, 4, 4), torch.device("cpu"))

    def test_an_image_s_noise_depends_on_its_number_and_the_seed_alone(self, lab):
        together, alone = self.streams(lab, [3, 4, 5]), self.streams(lab, [4])
        for _ in range(40):  # more than are drawn at once
            assert torch.equal(together.draw()[1], alone.draw()[0])
        assert not torch.equal(self.streams(lab, [4]).draw(), self.streams(lab, [4], seed=1).draw())

    @pytest.mark.parametrize(
        "form",
        [
            lambda x: torch.randn_like(x),
            lambda x: torch.randn(x.shape),
            lambda x: torch.randn(*x.shape),
            lambda x: torch.randn(size=x.shape, device=x.device),
            lambda x: torch.empty_like(x).normal_(),
        ],
    )
    def test_every_way_of_drawing_noise_is_caught(self, lab, form):
        streams, x = self.streams(lab, [0, 1]), torch.zeros(2, 3, 4, 4)
        with streams:
            noise = form(x)
        assert torch.equal(noise, self.streams(lab, [0, 1]).draw())

    def test_draws_of_another_shape_and_draws_outside_are_torch_s_own(self, lab):
        streams = self.streams(lab, [0, 1])
        expected = torch.Generator().manual_seed(5)
        torch.manual_seed(5)
        with streams:
            assert torch.equal(torch.randn(7), torch.randn(7, generator=expected))
        assert torch.equal(torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4, generator=expected))

    def test_the_noise_is_standard_gaussian(self, lab):
        streams = self.streams(lab, list(range(200)))
        draws = torch.stack([streams.draw() for _ in range(20)])
        assert draws.mean().abs() < 0.01
        assert abs(draws.std() - 1) < 0.01
        assert abs((draws[0, 0] * draws[1, 0]).mean()) < 0.5


def make_images(folder, count, seed, size=32):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def measure_fid(*arguments):
    return subprocess.run(
        [sys.executable, SOLUTIONS / "image_diffusion_todo" / "fid" / "measure_fid.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_measure_fid_without_images_says_so(tmp_path):
    ran = measure_fid(tmp_path / "eval", tmp_path)
    assert ran.returncode == 1
    assert "eval is no folder. `python dataset.py` makes it" in ran.stderr
    mixed = make_images(tmp_path / "mixed", 3, 0)
    Image.new("RGB", (16, 8)).save(mixed / "x.png")
    assert "have different sizes: 1 of 16x8, 3 of 32x32" in measure_fid(mixed, mixed).stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")  # inside pytorch-fid
@pytest.mark.filterwarnings("ignore:Matrix is singular")  # its covariance of 6 images, in scipy's sqrtm
def test_measure_fid_is_pytorch_fid_s_number_and_names_what_it_depends_on(tmp_path):
    pytest.importorskip("pytorch_fid")
    from unittest import mock

    from pytorch_fid import fid_score, inception

    torch.manual_seed(0)
    bare = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    kinds = {
        "5": (inception.FIDInceptionA, {"b": (192, 32), "c": (256, 64), "d": (288, 64)}),
        "6": (inception.FIDInceptionC, {"b": (768, 128), "c": (768, 160), "d": (768, 160), "e": (768, 192)}),
    }
    for number, (kind, blocks) in kinds.items():
        for letter, arguments in blocks.items():
            setattr(bare, f"Mixed_{number}{letter}", kind(*arguments))
    bare.Mixed_7b, bare.Mixed_7c = inception.FIDInceptionE_1(1280), inception.FIDInceptionE_2(2048)
    with mock.patch.object(inception, "load_state_dict_from_url", return_value=bare.state_dict()):
        network = inception.InceptionV3([3]).eval()
    torch.save(bare.state_dict(), tmp_path / "seeded.pth")
    real, generated = make_images(tmp_path / "real", 8, 0), make_images(tmp_path / "gen", 6, 1)
    ran = measure_fid(real, generated, "--weights", tmp_path / "seeded.pth", "--device", "cpu")
    assert ran.returncode == 0, ran.stderr
    statistics = [
        fid_score.compute_statistics_of_path(str(folder), network, 4, 2048, "cpu", 0) for folder in (real, generated)
    ]
    expected = fid_score.calculate_frechet_distance(*statistics[0], *statistics[1])
    assert float(ran.stdout.split()[1]) == pytest.approx(expected, rel=1e-3)
    assert "8 images of 32x32" in ran.stdout
    assert "6 images of 32x32" in ran.stdout
    assert "299x299" in ran.stdout
    assert "SHA-256" in ran.stdout
