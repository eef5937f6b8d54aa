"""`python3 -m grader.tools.gpu`."""

from __future__ import annotations

import sys

from grader.tools.gpu.bare import install_where_missing

if __name__ == "__main__":
    install_where_missing()  # before anything is imported that would look for pydantic
    from grader.tools.gpu.command import main

    sys.exit(main())
