"""The default loops compute what the plain ones compute: losses and samples of both, to stated tolerances."""

import json
import os
import platform
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from grader.tests.lab import SOLUTIONS, load_half
from grader.tests.memory import faults_of_new_tensors
from grader.tests.small_training import OPTIONS, losses_of, make_images, make_module, run_of

pytestmark = pytest.mark.usefixtures("one_thread")
PREDICTORS = ["noise", "x0", "mean"]


@pytest.fixture(scope="module")
def lab():
    return load_half("image_diffusion_todo")


@pytest.fixture
def images():
    return make_images()


def plans(lab):
    cpu = torch.device("cpu")
    return {
        "plain": lab.engine.fast.choose(cpu, plain=True),
        "float32": lab.engine.fast.choose(cpu, float32=True),
        "float32 for sampling": lab.engine.fast.choose(cpu, training=False, float32=True),
        "bfloat16": lab.engine.fast.Plan(cpu, torch.bfloat16, fused=True),
        "bfloat16 for sampling": lab.engine.fast.Plan(cpu, torch.bfloat16, frozen=True),
        "channels_last": lab.engine.fast.Plan(cpu, torch.bfloat16, channels_last=True, fused=True),
    }


# Float32 differs only in the order of its sums. Bfloat16 has 8 bits, and a network's output is off by about 1% of
# its size; over 10 steps the losses were seen to differ by 0.4% at most.
@pytest.mark.parametrize(("name", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.02), ("channels_last", 0.02)])
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_training_has_the_losses_of_the_plain_loop(lab, images, predictor, name, tolerance):
    slow = losses_of(lab, make_module(lab, predictor), images, plans(lab)["plain"])
    quick = losses_of(lab, make_module(lab, predictor), images, plans(lab)[name])
    torch.testing.assert_close(quick, slow, rtol=tolerance, atol=0)
    assert len(set(slow.tolist())) == 10


@pytest.fixture(scope="module")
def trained(lab):
    """A network fresh from __init__ does next to nothing, and one with random weights amplifies any difference."""
    modules = {}
    smooth = make_images()
    for predictor in PREDICTORS:
        modules[predictor] = make_module(lab, predictor)
        faster = SimpleNamespace(**{**vars(OPTIONS), "lr": 2e-3})
        losses_of(lab, modules[predictor], smooth, plans(lab)["plain"], faster, count=20)
        modules[predictor].eval().requires_grad_(False)
    return modules


# Root mean square difference of images that reach from -1 to 1. Seen: 2e-7 in float32, and in bfloat16 0.003 for the
# mean predictor and 0.001 for the others; a step of an 8-bit image is 0.008.
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("float32", 1e-5),
        ("float32 for sampling", 1e-5),
        ("bfloat16", 0.01),
        ("bfloat16 for sampling", 0.01),
        ("channels_last", 0.01),
    ],
)
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_samples_are_those_of_the_plain_loop(lab, trained, predictor, name, tolerance):
    """Given the same noise, both end at the same images."""
    plan = plans(lab)[name]
    quick_module = make_module(lab, predictor).eval()
    quick_module.load_state_dict(trained[predictor].state_dict())
    lab.engine.fast.prepare(quick_module, plan, 3)
    quick, _ = lab.sampling.sample(quick_module, lab.engine.noise.streams(quick_module, 0, [0, 1, 2]))
    with lab.engine.noise.OneStreamPerImage(0, [0, 1, 2], (3, 8, 8), plan.device):
        slow = trained[predictor].sample(3)
    assert (quick - slow).square().mean().sqrt() < tolerance
    assert slow.square().mean().sqrt() > 0.2


def test_plain_attention_is_attention(lab):
    q, k, v = torch.randn(3, 2, 5, 4)
    torch.testing.assert_close(lab.engine.plain.attention_by_products(q, k, v), lab.module.attention(q, k, v))
    module = make_module(lab)
    lab.engine.fast.prepare(module, plans(lab)["plain"], 2)
    used = [block.attend for block in module.network.modules() if isinstance(block, lab.module.AttentionBlock)]
    assert len(used) > 2
    assert set(used) == {lab.engine.plain.attention_by_products}


@pytest.mark.parametrize("script", ["train.py", "sampling.py"])
def test_the_loops_are_short_enough_to_be_read(script):
    assert len((SOLUTIONS / "image_diffusion_todo" / script).read_text().splitlines()) <= 130


def test_no_private_name_of_torch_is_used():
    for path in (SOLUTIONS / "image_diffusion_todo").rglob("*.py"):
        assert re.findall(r"\btorch(?:\.\w+)*\._[a-z]\w*|\._compiled\w+", path.read_text()) == [], path.name


def test_preparing_changes_no_name_and_no_number(lab):
    module = make_module(lab)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    lab.engine.fast.prepare(module, plans(lab)["channels_last"], 2)
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_frozen_weights_are_rounded_once_but_for_the_first_and_last_layer(lab):
    module = make_module(lab)
    lab.engine.fast.prepare(module, plans(lab)["bfloat16 for sampling"], 2)
    for name, layer in module.network.named_modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            rounded = name.split(".")[0] not in ("head", "tail")
            assert layer.weight.dtype == (torch.bfloat16 if rounded else torch.float32), name
    trained = make_module(lab)
    lab.engine.fast.prepare(trained, plans(lab)["bfloat16"], 2)
    assert {parameter.dtype for parameter in trained.parameters()} == {torch.float32}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_on_a_cpu_memory_stays_with_the_process(lab):
    lab.engine.fast.prepare(make_module(lab), plans(lab)["float32"], 2)
    assert faults_of_new_tensors() < 20_000  # without, 98,000


def test_the_first_and_last_layer_compute_in_float32(lab):
    """Else the mean predictor, whose output is nearly its input, could not be better than bfloat16's 8 bits."""
    network = make_module(lab).network
    network.inner_dtype = torch.bfloat16
    seen = {}
    for name, layer in (("head", network.head), ("inside", network.down[0]), ("tail", network.tail)):

        def look(layer, inputs, output, name=name):
            seen[name] = inputs[0].dtype, output.dtype

        layer.register_forward_hook(look)
    out = network(torch.randn(2, 3, 8, 8), torch.tensor([1, 2]))
    exact, rounded = (torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16)
    assert seen == {"head": exact, "inside": rounded, "tail": exact}
    assert out.dtype == torch.float32


def test_averaged_weights_follow_and_are_only_there_where_asked_for(lab, images):
    module = make_module(lab)
    weight = module.network.head.weight
    first = weight.detach().clone()
    options = SimpleNamespace(**{**vars(OPTIONS), "ema": 0.9})
    average = run_of(lab, module, images, plans(lab)["float32"], options, count=1).average
    now = weight.detach().clone()
    expected = 0.1 * first + 0.9 * now  # step 0: decay (1 + 0) / (10 + 0)
    torch.testing.assert_close(average.weights["head.weight"], expected)
    with average.in_place():
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(weight, now)
    assert run_of(lab, module, images, plans(lab)["float32"], count=1).average.weights == {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_compiled_runs_uncompiled(lab, capsys, monkeypatch):
    network = (module := make_module(lab)).network

    def refuse(graph, inputs):
        raise RuntimeError("no compiler on this machine\nand more")

    monkeypatch.setattr(network, "compile", lambda **_: torch.nn.Module.compile(network, backend=refuse))
    try:
        plan = lab.engine.fast.prepare(module, lab.engine.fast.Plan(torch.device("cpu"), compiled=True), 2)
        assert not plan.compiled
        assert capsys.readouterr().err.startswith("not compiled: BackendCompilerFailed: ")
        assert network(torch.zeros(2, 3, 8, 8), 0).shape == (2, 3, 8, 8)
        assert all(parameter.grad is None for parameter in network.parameters())
    finally:
        torch.compiler.set_stance("default")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_network_is_one_graph_also_with_mixed_precision(lab):
    network = make_module(lab).network
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([1, 2])
    network.inner_dtype = torch.bfloat16
    expected = network(x, t)
    network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(network(x, t), expected)


def test_the_warm_up_of_the_learning_rate(lab):
    rates = [lab.train.warmed_up(step, 2e-4, 200) for step in (0, 99, 199, 200, 100_000)]
    assert rates == pytest.approx([1e-6, 1e-4, 2e-4, 2e-4, 2e-4])
    assert lab.train.warmed_up(0, 2e-4, 0) == 2e-4


@pytest.mark.parametrize(
    ("flags", "has"), [("fpu avx512f avx512_bf16", True), ("fpu amx_tile", True), ("fpu avx512f", False)]
)
def test_bfloat16_pays_on_a_cpu_that_has_it(lab, tmp_path, flags, has):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert lab.engine.fast.cpu_has_bf16(tmp_path / "cpuinfo") is has
    assert not lab.engine.fast.cpu_has_bf16(tmp_path / "no such file")


def test_the_plain_loop_is_a_textbook_s(lab):
    """Full precision, PyTorch's own Adam, losses that are read at once."""
    module = make_module(lab)
    plan = lab.engine.fast.prepare(module, plans(lab)["plain"], 2)
    assert str(plan) == "cpu: float32, plain"
    assert module.network.inner_dtype is None
    assert plan.fused is None
    losses = lab.engine.runs.Losses(plan)
    losses.add(torch.tensor(0.5))
    assert losses.kept == [0.5]


def test_a_device_that_is_not_there_is_an_error_that_says_so(lab):
    error = lab.engine.errors.LabError
    with pytest.raises(error, match="'gpu' is no device; known are cpu, cuda, cuda:1"):
        lab.engine.errors.device_named("gpu")
    with pytest.raises(error, match=r"cuda:9 was asked for, and torch .* sees \d GPUs"):
        lab.engine.errors.device_named("cuda:9")
    assert lab.engine.errors.device_named("cpu") == torch.device("cpu")


def test_people_s_mistakes_are_a_line_and_bugs_a_traceback(lab, capsys):
    def fail(error):
        raise error

    run = lab.engine.errors.run_script
    assert run(lambda: None) == 0
    assert run(lambda: fail(lab.engine.errors.LabError("try that"))) == 1
    assert run(lambda: fail(OSError(28, "No space left on device"))) == 1
    assert run(lambda: fail(torch.OutOfMemoryError("CUDA out of memory"))) == 1
    assert run(lambda: fail(KeyboardInterrupt())) == 130
    said = capsys.readouterr().err
    assert "try that" in said
    assert "full: make room" in said
    assert "try --batch_size with half the number" in said
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)


@pytest.mark.slow
def test_the_benchmark_shows_both_loops_side_by_side(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "benchmark.py",
            "--small",
            "--device",
            "cpu",
            "--batch_sizes",
            "2",
            "--jpeg_size",
            "16",
            "--timesteps",
            "2",
            "--seconds",
            "0.01",
            "--rounds",
            "1",
            "--workers",
            "0",
            "--json",
            str(tmp_path / "benchmark.json"),
        ],
        cwd=SOLUTIONS / "image_diffusion_todo",
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # beside other programs, threads would wait for each other
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "ratio" in lines[2]
    rows = [line.split() for line in lines[3:]]
    assert [row[:2] for row in rows] == [["training", "2"], ["sampling", "2"]]
    for row in rows:
        assert float(row[4]) == pytest.approx(float(row[3]) / float(row[2]), rel=0.05)
    written = json.loads((tmp_path / "benchmark.json").read_text())
    assert written["measured_peak"] > 0
    assert [f"{row['plain']:.4g}" for row in written["rows"]] == [row[2] for row in rows]


def test_a_batch_that_does_not_fit_into_memory_leaves_the_others_measured(lab, monkeypatch, tmp_path, capsys):
    class Measured:
        def __init__(self, name, what, *_):
            if (name, what) == ("plain", "training"):
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.process = SimpleNamespace(shutdown=lambda: None)

        def rate(self):
            return 3.0

    monkeypatch.setattr(lab.benchmark, "Measured", Measured)
    rates = lab.benchmark.measure(SimpleNamespace(rounds=2, batch_size=250), tmp_path, torch.device("cpu"))
    assert capsys.readouterr().err == "plain training: out of memory with batches of 250\n"
    assert [name for name, rate in rates.items() if rate == 3.0] == list(rates)[1:]
    lab.benchmark.write_json(tmp_path / "b.json", {}, [{"plain": rates["plain", "training"]}])
    assert json.loads((tmp_path / "b.json").read_text()) == {"rows": [{"plain": None}]}
