"""`python3 -m grader.tools.gpu`: looks at this Python before anything is imported that would not be there."""

from __future__ import annotations

import importlib.util
import sys

NEEDED = ("torch", "torchvision", "numpy", "PIL", "tqdm", "matplotlib", "safetensors")


def lacking() -> str:
    """What this Python lacks of what the parts need, in words; empty where it has all."""
    if sys.version_info < (3, 11):  # noqa: UP036  the Python of the system, which no installer has looked at
        return f"is {sys.version.split()[0]}, and 3.11 or newer is needed"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"lacks {', '.join(missing)}" if missing else ""


if __name__ == "__main__":
    if problem := lacking():
        print(f"gpu: {sys.executable} {problem}: name another with make gpu PYTHON=...", file=sys.stderr)
        sys.exit(2)
    from grader.tools.gpu.bare import install_where_missing

    install_where_missing()  # before anything is imported that would look for pydantic
    from grader.tools.gpu.command import main

    sys.exit(main())
