"""Settings of schedules under which rows are judged."""

from __future__ import annotations

from typing import Any

SHORT: dict[str, Any] = {"T": 10, "beta_1": 0.01, "beta_T": 0.3, "mode": "linear"}
