"""A part's process: `python -m grader.tools.gpu.child MODULE FILE SETTINGS`."""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path

from grader.tools.gpu.bare import install_where_missing
from grader.tools.gpu.session import Session, Settings


def main() -> int:
    install_where_missing()
    module, file, settings = sys.argv[1:]
    session = Session(Settings(**json.loads(settings)), Path(file))
    if session.settings.sandbox == "user":
        os.umask(0o077)  # as `grade --sandbox user` does: what is written is closed to the submissions' users
    try:
        import_module(module).run(session)
    except Exception:
        text = traceback.format_exc()
        print(text, file=sys.stderr)
        session.note(error=text)
        return 1
    return 0 if all(check["met"] for check in session.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
