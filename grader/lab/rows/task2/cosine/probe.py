"""The tables of a schedule."""

import torch
from loading import Missing, probe
from probing import build_scheduler


@probe("schedule_tables")
def schedule_tables(half, params, arrays):
    """The buffers of BaseScheduler for the given mode and T."""
    scheduler = build_scheduler(half.need("scheduler", "BaseScheduler"), params)
    out, dtypes = {}, {}
    for name in ("betas", "alphas", "alphas_cumprod"):
        table = getattr(scheduler, name, None)
        if table is None:
            raise Missing(f"scheduler.py: BaseScheduler has no buffer {name}")
        table = torch.as_tensor(table)
        dtypes[name], out[name] = str(table.dtype), table.detach().double()
    return {"dtypes": dtypes}, out
