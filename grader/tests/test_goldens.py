"""Golden files are what their formulas give, and a number that moved is told."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from grader.lab import golden_public
from grader.lab.goldens import SAME, golden_files, main

GOLDENS = {golden.arrays.stem: golden for golden in golden_files()}


def test_every_file_of_arrays_has_its_maker():
    stored = {path.stem for path in golden_public.GOLDEN.arrays.parent.glob("*.npz")}
    assert stored == set(GOLDENS) == {"public_golden", "companions_plane"}


@pytest.mark.parametrize("name", GOLDENS)
def test_the_committed_files_are_what_the_formulas_give(name):
    golden = GOLDENS[name]
    assert max(golden.differences(golden.make()).values()) <= SAME
    committed = json.loads(golden.record.read_text(encoding="utf-8"))
    versions = {"numpy": "", "torch": ""}
    assert committed | versions == golden.described() | versions


def test_a_number_that_moved_is_told_and_written_only_where_asked(tmp_path, capsys):
    golden = replace(golden_public.GOLDEN, arrays=tmp_path / "other.npz")
    changed = golden_public.GOLDEN.read()
    changed["points_xt"][0, 0] += 1e-3
    del changed["cosine_betas"]
    golden.write(changed | {"of_old": np.zeros(2)})
    assert main(["--check"], [golden]) == 1
    out = capsys.readouterr().out
    assert "  points_xt                    (8, 2)         largest difference 0.001\n" in out
    assert "  cosine_betas                 (10,)          largest difference inf\n" in out
    assert "  of_old                       gone           largest difference inf\n" in out
    assert main([], [golden]) == 0
    assert main(["--check"], [golden]) == 0


def test_golden_agrees_with_diffusers(monkeypatch):
    ddpm = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")
    found = {name: torch.from_numpy(array) for name, array in golden_public.GOLDEN.read().items()}
    T, beta_1, beta_T = found["schedule"].tolist()
    options = {"num_train_timesteps": int(T), "beta_start": beta_1, "beta_end": beta_T, "clip_sample": False}
    noise = ddpm.DDPMScheduler(beta_schedule="linear", prediction_type="epsilon", **options)
    sample = ddpm.DDPMScheduler(beta_schedule="linear", prediction_type="sample", **options)
    for kind in ("points", "images"):
        xt = noise.add_noise(found[f"{kind}_x0"], found[f"{kind}_noise"], found[f"{kind}_t"])
        torch.testing.assert_close(xt.double(), found[f"{kind}_xt"], atol=1e-6, rtol=0)
    monkeypatch.setattr(ddpm, "randn_tensor", lambda shape, **rest: torch.zeros(shape))
    for row, t in enumerate(found["step_t"].tolist()):
        for name, scheduler in (("noise", noise), ("x0", sample)):
            mean = scheduler.step(found["step_out"][None], t, found["step_xt"][None]).prev_sample[0]
            torch.testing.assert_close(mean.double(), found[f"step_mean_{name}"][row], atol=1e-5, rtol=0)
        if t:  # diffusers replaces the 0 at t = 0 by 1e-20
            spread = float(noise._get_variance(t)) ** 0.5
            assert spread == pytest.approx(found["step_spread"][row].item(), abs=1e-6)
    cosine_betas = ddpm.DDPMScheduler(num_train_timesteps=int(T), beta_schedule="squaredcos_cap_v2").betas
    torch.testing.assert_close(cosine_betas.double(), found["cosine_betas"], atol=1e-6, rtol=0)
