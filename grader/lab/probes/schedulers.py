"""A scheduler with any table of betas, for the image half's companion exercises."""

from building import build_ddpm_scheduler
from stand_ins import GivenScheduler


class TableScheduler(GivenScheduler):
    """The lab's scheduler with any table of betas."""

    def __init__(self, betas):
        super().__init__(len(betas), 0.0, 0.0)
        self.config = {"num_train_timesteps": len(betas), "sigma_type": "small"}
        betas = betas.double()
        self.betas, self.alphas, self.alphas_cumprod = (
            table.float() for table in (betas, 1 - betas, (1 - betas).cumprod(0))
        )

    @property
    def device(self):
        return self.betas.device


def with_scheduler(half, params, betas, call):
    """call(scheduler) on a stand-in; on the student's own where the code uses something that only that one has."""
    try:
        return call(TableScheduler(betas))
    except AttributeError:
        return call(build_ddpm_scheduler(half, params))
