"""The image half's companion exercises: the lab's answers against diffusers, public checks, runs on small images."""

import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from PIL import Image

from grader.lab import LAB
from grader.tests.lab import SOLUTIONS, load_half
from grader.tests.test_dataset import make_afhq, write_mnist

ROWS = ("extra.fast_sample", "extra.class_conditional", "extra.diffusers_parity")
MISTAKES = [case for row in ROWS for case in LAB.room(row, "made_up").MISTAKES]


@pytest.fixture(scope="module")
def lab():
    modules = load_half("image_diffusion_todo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "companions", modules.companions)  # which the lab imports only where it needs it
        yield modules


class TestTheLab:
    """The solved exercises, against diffusers and against their own definitions."""

    def images(self, lab, T=12):
        torch.manual_seed(0)
        return lab.scheduler.DDPMScheduler(T, 0.01, 0.3), torch.randn(2, 1, 4, 4)

    @staticmethod
    def network(x, timestep, class_label=None):
        return 0.3 * x + 0.02 * timestep.view(-1, 1, 1, 1)

    @pytest.mark.parametrize("every", [1, 2, 3, 4, 6, 12])
    @pytest.mark.parametrize(("predictor", "theirs"), [("noise", "epsilon"), ("x0", "sample")])
    def test_fast_sample_is_the_ddim_of_diffusers(self, lab, every, predictor, theirs):
        scheduler, x_T = self.images(lab)
        settings = {"trained_betas": scheduler.betas.numpy(), "clip_sample": False, "prediction_type": theirs}
        ddim = DDIMScheduler(12, timestep_spacing="trailing", **settings)
        ddim.set_timesteps(12 // every)
        x = x_T
        for t in ddim.timesteps:
            x = ddim.step(self.network(x, t.expand(2)), t, x).prev_sample
        ours = lab.companions.fast_sample(self.network, scheduler, x_T, every, predictor)
        torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("t", [0, 5, 11])
    def test_every_predictor_s_output_stands_for_the_noise(self, lab, t):
        scheduler, x_0 = self.images(lab)
        x_t, eps = scheduler.add_noise(x_0, t)
        alpha, bar = 1 - scheduler.betas[t], scheduler.alphas_cumprod[t]
        mean = (x_t - (1 - alpha) / (1 - bar).sqrt() * eps) / alpha.sqrt()
        for predictor, net_out in (("noise", eps), ("x0", x_0), ("mean", mean)):
            found = lab.companions.as_noise(scheduler, x_t, t, net_out, predictor)
            torch.testing.assert_close(found, eps, rtol=1e-3, atol=1e-3)
        with pytest.raises(ValueError, match="unknown predictor 'eps'; known are noise, x0, mean"):
            lab.companions.as_noise(scheduler, x_t, t, eps, "eps")

    def test_guidance_counts_from_the_prediction_without_a_class(self, lab):
        def network(x, timestep, class_label):
            return x + class_label.view(-1, 1, 1, 1)

        x, t, labels = torch.randn(3, 1, 2, 2), torch.zeros(3, dtype=torch.long), torch.tensor([1, 2, 3])
        for scale, shift in ((0.0, [10, 10, 10]), (1.0, [1, 2, 3]), (3.0, [-17, -14, -11])):
            expected = x + torch.tensor(shift).view(-1, 1, 1, 1)
            torch.testing.assert_close(lab.companions.guided_noise(network, x, t, labels, scale, 10), expected)

    def test_a_network_with_classes_tells_them_apart_and_none_is_no_class(self, lab):
        torch.manual_seed(0)
        network = lab.network.UNet(8, 32, [1, 2], [], 1, 0.0, 1, num_classes=3).eval()
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.xavier_uniform_(layer.weight)  # fresh from __init__, some are near zero
        x = torch.randn(4, 1, 8, 8)
        out = network(x[:1].expand(4, -1, -1, -1), 5, torch.tensor([0, 1, 2, 3]))
        assert all((out[i] - out[j]).abs().max() > 1e-3 for i, j in itertools.combinations(range(4), 2))
        torch.testing.assert_close(network(x, 5), network(x, 5, torch.full((4,), 3)))

    def test_a_network_that_is_built_asks_for_no_module_any_more(self, lab, monkeypatch):
        network = lab.network.UNet(8, 32, [1], [], 1, 0.0, 1, num_classes=3)
        monkeypatch.setitem(sys.modules, "companions", None)  # an import of it would fail
        assert network(torch.zeros(2, 1, 8, 8), 5, torch.tensor([0, 1])).shape == (2, 1, 8, 8)

    def test_a_checkpoint_of_a_network_with_classes_comes_back(self, lab, tmp_path):
        scheduler, _ = self.images(lab)
        module = lab.model.DiffusionModule(lab.network.UNet(8, 32, [1], [], 1, 0.0, 1, num_classes=3), scheduler)
        lab.engine.checkpoint.save(tmp_path / "last.ckpt", module, {"step": 1}, {})
        again, _ = lab.engine.checkpoint.load_for_sampling(tmp_path / "last.ckpt", torch.device("cpu"))
        assert again.network.num_classes == 3
        assert "num_classes" not in lab.network.UNet(8, 32, [1], [], 1).config  # as in checkpoints of before

    def test_parity_with_diffusers_holds_and_is_told(self, lab, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["parity.py", "--out", str(tmp_path / "parity.png"), "--num_images", "2"])
        assert lab.engine.errors.run_script(lab.parity.main) == 0
        out = capsys.readouterr().out
        assert [line.split("  ")[0] for line in out.splitlines() if "within" in line] == [
            "betas, linear, relative",
            "betas, quad, relative",
            "betas, cosine, relative",
            "images, DDPM, 100 steps",
            "images, DDIM, 10 steps",
        ]
        assert "fewer" in out
        assert (tmp_path / "parity.png").is_file()

    def test_schedules_that_differ_are_told(self, lab, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["parity.py", "--out", str(tmp_path / "parity.png"), "--num_images", "2"])
        theirs = DDPMScheduler(100), DDIMScheduler(100, timestep_spacing="trailing")
        monkeypatch.setattr(lab.parity, "diffusers_schedulers", lambda scheduler: theirs)
        assert lab.engine.errors.run_script(lab.parity.main) == 1
        captured = capsys.readouterr()
        assert captured.out.count("MORE THAN 0.001") == 2
        assert "the lab and the library do not agree" in captured.err

    def test_without_diffusers_the_command_says_what_to_install(self, lab, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "diffusers", None)
        monkeypatch.setattr(sys, "argv", ["parity.py"])
        assert lab.engine.errors.run_script(lab.parity.main) == 1
        assert "pip install diffusers" in capsys.readouterr().err


def test_the_lab_works_while_companions_does_not(tmp_path):
    half = tmp_path / "half"
    shutil.copytree(SOLUTIONS / "image_diffusion_todo", half)
    (half / "companions.py").write_text("x_0 = ((\n")
    network = "UNet(8, 32, [1, 2], [1], 1, 0.0)(torch.zeros(1, 3, 8, 8), 3)"
    code = f"import train, sampling, torch; from network import UNet; {network}"
    subprocess.run([sys.executable, "-c", code], cwd=half, check=True)


class TestRunsOnSmallImages:
    """train.py, sampling.py and gallery.py on MNIST's files: one channel, classes, guidance, fast samples."""

    @pytest.fixture
    def trained(self, lab, tmp_path, monkeypatch):
        write_mnist(tmp_path / "data", 12)
        monkeypatch.setattr(lab.dataset, "CACHE", tmp_path / "cache")
        options = "--dataset mnist --image_size 8 --ch 32 --ch_mult 1 2 --attn 1 --num_res_blocks 1 --batch_size 4"
        options += " --num_diffusion_train_timesteps 12 --num_samples 2 --device cpu --use_cfg --train_num_steps 2"
        places = ["--data_dir", str(tmp_path / "data"), "--results_dir", str(tmp_path / "results")]
        options, contents = lab.engine.commands.training_options("", [*options.split(), *places])
        return lab.train.train(options, contents) / "last.ckpt"

    def test_a_grey_data_set_has_one_channel_and_classes(self, lab, trained):
        config = lab.engine.checkpoint.read(trained)["config"]
        assert (config["network"]["image_channels"], config["network"]["num_classes"]) == (1, 10)
        about = json.loads((trained.parent / "config.json").read_text())
        assert about["classes"][3] == "3 - three"
        with Image.open(trained.parent / "step=2-0.png") as sample:
            assert sample.mode == "RGB"

    def test_sampling_skips_and_guides(self, lab, trained, tmp_path, monkeypatch):
        def draw(name, *arguments):
            options = ["--ckpt_path", str(trained), "--save_dir", str(tmp_path / name), "--device", "cpu"]
            monkeypatch.setattr(sys, "argv", ["sampling.py", *options, "--num_images", "3", *arguments])
            lab.sampling.main()
            return np.stack([np.asarray(Image.open(path)) for path in sorted((tmp_path / name).glob("*.png"))])

        slow, fast = draw("slow"), draw("fast", "--every", "4")
        assert slow.shape == fast.shape == (3, 8, 8, 3)
        assert (draw("again", "--every", "4", "--batch_size", "2").astype(int) - fast).__abs__().max() <= 1
        draw("guided", "--use_cfg", "--cfg_scale", "3", "--class_label", "7")
        for arguments, said in (
            (("fast",), "fast has images of another every"),
            (("a", "--every", "13"), "from 1 to 12, the timesteps of the checkpoint"),
            (("a", "--every", "2", "--traj"), "leave --every or --traj out"),
            (("a", "--use_cfg", "--class_label", "10"), "the classes are 0 to 9"),
        ):
            with pytest.raises(lab.engine.errors.LabError, match=said):
                draw(*arguments)

    def test_the_gallery_has_all_its_pictures(self, lab, trained, tmp_path, monkeypatch, capsys):
        command = ["gallery.py", "--ckpt_path", str(trained), "--out", str(tmp_path / "out"), "--every", "4"]
        monkeypatch.setattr(sys, "argv", [*command, "--device", "cpu"])
        assert lab.engine.errors.run_script(lab.gallery.main) == 0
        drawn = sorted(path.stem for path in (tmp_path / "out").glob("*.png"))
        assert drawn == ["alpha_bar", "fast", "filmstrip", "guidance", "samples"]
        with Image.open(tmp_path / "out" / "samples.png") as samples:
            assert samples.size == (8 * (96 + 2) - 2,) * 2
        assert "fast.png: 3 steps" in capsys.readouterr().out

    def test_labels_belong_to_the_images_that_could_be_read(self, lab, tmp_path, monkeypatch):
        monkeypatch.setattr(lab.dataset, "CACHE", tmp_path / "cache")
        afhq = make_afhq(tmp_path / "afhq", per_class=5)
        (afhq / "train" / "dog" / "1.jpg").write_bytes(b"broken")
        images = lab.dataset.training_images("afhq", afhq, 8)
        labels, names = lab.dataset.training_labels("afhq", afhq, 8)
        assert (len(images), names) == (14, ["cat", "dog", "wild"])
        assert labels.tolist() == [0] * 5 + [1] * 4 + [2] * 5

    def test_what_does_not_go_together_is_refused(self, lab):
        with pytest.raises(
            lab.engine.errors.LabError, match="--image_channels 1 is for mnist, fashion_mnist; cifar10 is in"
        ):
            lab.engine.commands.training_options("", ["--dataset", "cifar10", "--image_channels", "1"])
        with pytest.raises(lab.engine.errors.LabError, match="--plain knows no class labels and no single channel"):
            lab.engine.commands.training_options("", ["--plain", "--use_cfg"])
