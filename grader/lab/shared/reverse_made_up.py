"""What students write around the line of a reverse step that goes wrong: parts of made-up mistakes in Task 2."""

from __future__ import annotations

TABLES = """
b, a, ab = (self.lookup(table, t, x_t) for table in (self.betas, self.alphas, self.alphas_cumprod))
"""
BEFORE = """
first = (t == 0).view(-1, 1, 1, 1)
ab_prev = torch.where(first, torch.ones_like(ab), self.lookup(self.alphas_cumprod, (t - 1).clamp(min=0), x_t))
"""
CLAMPED = """
t_prev = torch.clamp(t - 1, min=0)
ab_prev = self.lookup(self.alphas_cumprod, t_prev, x_t)
"""
EQ11 = "mean = (x_t - b / torch.sqrt(1 - ab) * eps_theta) / torch.sqrt(a)\n"
NOISE = """
z = torch.randn_like(x_t)
z[t == 0] = 0
sample_prev = mean + self.lookup(self.sigmas, t, x_t) * z
"""
POSTERIOR = "mean = ab_prev.sqrt() * b / (1 - ab) * x0_pred + a.sqrt() * (1 - ab_prev) / (1 - ab) * x_t\n"
