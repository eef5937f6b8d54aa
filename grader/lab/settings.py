"""Settings of schedules under which rows are judged."""

from __future__ import annotations

from typing import Any

SHORT: dict[str, Any] = {"T": 10, "beta_1": 0.01, "beta_T": 0.3, "mode": "linear"}
NOTEBOOK: dict[str, Any] = {"T": 1000, "beta_1": 1e-4, "beta_T": 0.02, "mode": "linear"}  # as the notebook trains
