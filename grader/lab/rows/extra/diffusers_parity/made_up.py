"""Mistakes in the settings of the library's schedulers as students make them, and right solutions in other styles."""

from __future__ import annotations

from grader.judging.made_up import Case, Style, body, mistake, swapped

ROW = "extra.diffusers_parity"
CLASSES_OF = "ddpm_class, ddim_class = diffusers_classes()\n"
SETTINGS = """
T, betas = scheduler.num_train_timesteps, scheduler.betas.cpu().numpy()
ddpm = ddpm_class(T, trained_betas=betas, clip_sample=False)
ddim = ddim_class(T, trained_betas=betas, clip_sample=False, timestep_spacing="trailing")
"""


def _parity(diagnosis: str | None, *swaps: tuple[str, str], name: str = "") -> Case:
    return mistake(ROW, diagnosis, 0.0, CLASSES_OF + swapped(SETTINGS, *swaps), name=name)


MISTAKES: tuple[Case, ...] = (
    _parity("parity-betas", ("trained_betas=betas, ", "")),
    _parity(
        "parity-betas",
        ("trained_betas=betas, ", "beta_start=float(betas[0]), beta_end=float(betas[-1]), "),
        name="linear-betas",
    ),
    _parity("parity-clip-sample", (", clip_sample=False", "")),
    _parity("parity-clip-sample", ("clip_sample=False, timestep", "timestep"), name="clipped-in-ddim"),
    _parity("parity-spacing", (', timestep_spacing="trailing"', "")),
    _parity("parity-spacing", ('"trailing"', '"linspace"'), name="linspace"),
    _parity("parity-spacing", ('"trailing"', '"leading", steps_offset=1'), name="steps-offset"),
    _parity("parity-last-alpha", ('"trailing"', '"trailing", set_alpha_to_one=False')),
    _parity(
        "parity-variance-type",
        ("betas, clip_sample=False)\nddim", "betas, clip_sample=False, variance_type='fixed_large')\nddim"),
    ),
    _parity("parity-prediction-type", ("clip_sample=False", "clip_sample=False, prediction_type='sample'")),
    _parity("parity-thresholding", ("clip_sample=False, timestep", "clip_sample=False, thresholding=True, timestep")),
    _parity("parity-zero-snr", ("clip_sample=False", "clip_sample=False, rescale_betas_zero_snr=True")),
    _parity("parity-timesteps", ("class(T, trained_betas=betas, ", "class(")),
    _parity("parity-exchanged", ("ddpm =", "_ ="), ("ddim =", "ddpm ="), ("_ =", "ddim =")),
)

STYLES: tuple[Style, ...] = (
    body(
        ROW,
        "direct-import",
        "from diffusers import DDIMScheduler as ddim_class\n"
        "from diffusers import DDPMScheduler as ddpm_class\n" + SETTINGS,
    ),
    body(
        ROW,
        "from-config",
        CLASSES_OF
        + """
ddpm = ddpm_class(num_train_timesteps=len(scheduler.betas), trained_betas=scheduler.betas.tolist(), clip_sample=False,
                  variance_type="fixed_small_log", prediction_type="epsilon", timestep_spacing="trailing")
ddim = ddim_class.from_config(ddpm.config, set_alpha_to_one=True)
""",
    ),
)
