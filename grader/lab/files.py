"""Names of the lab's files with TODOs, as they stand in a submission."""

from __future__ import annotations

TASK1, TASK2 = "2d_plot_diffusion_todo", "image_diffusion_todo"
DDPM, NETWORK = f"{TASK1}/ddpm.py", f"{TASK1}/network.py"
SCHEDULER, MODEL = f"{TASK2}/scheduler.py", f"{TASK2}/model.py"
