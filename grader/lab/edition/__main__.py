"""`python -m grader check [ROW...]` checks your code, `python -m grader pack ID` makes the ZIP to hand in."""

import sys

from . import check, pack

VERBS = {"check": check.main, "pack": pack.main}


def main() -> int:
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in VERBS:
        return VERBS[verb](sys.argv[2:])
    print(__doc__)
    if verb in ("-h", "--help"):
        return 0
    print(f"unknown verb '{verb}'; known are {', '.join(VERBS)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
