"""What the C library does with memory, on Linux: page faults and pages that stay."""

import resource
from pathlib import Path

import torch


def faults_of_new_tensors() -> int:
    """Page faults of making a tensor of 40 MB ten times, after ten times that find their place."""
    for _ in range(10):
        torch.ones(10_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])
