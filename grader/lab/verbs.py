"""The verbs of the command line that only this lab has: release, check, pack, fid."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from grader.commands import command_parser, say
from grader.errors import OK, UNGRADED, UsageError
from grader.lab import LAB


def release(args: list[str]) -> int:
    """Write the student edition, or its halves alone."""
    parser = command_parser("release", "write the student edition")
    parser.add_argument("destination", type=Path, metavar="DIR", help="folder of the student edition")
    parser.add_argument("--halves", action="store_true", help="write only the two halves of the lab into DIR")
    parser.add_argument("--force", action="store_true", help="replace a folder that holds something else")
    options = parser.parse_args(args)
    from grader.lab.release import release as release_edition
    from grader.lab.release import release_halves

    if options.halves:
        release_halves(options.destination)
        print(f"wrote the two halves of the lab to {options.destination}")
    else:
        release_edition(options.destination, options.force)
        print(f"wrote the student edition to {options.destination}")
    return OK


def check(args: list[str]) -> int:
    """Run the public checks on the code in this folder."""
    from grader.lab.edition.check import main
    from grader.lab.release import public_rows

    return main(args, public_rows())


def pack(args: list[str]) -> int:
    """Make the ZIP to hand in."""
    from grader.lab.edition.pack import main

    return main(args, tuple(half.folder for half in LAB.halves))


def fid(args: list[str]) -> int:
    """Measure a folder of images."""
    options = _fid_parser().parse_args(args)
    if options.batch_size < 1:
        raise UsageError("--batch-size takes a whole number from 1 on")
    from grader.fid.images import NotMeasurable  # late: help needs neither numpy nor torch
    from grader.fid.measure import measure

    try:
        report = measure(
            options.generated,
            options.reference,
            options.weights,
            LAB.policy(options.policy).fid,
            training=options.training,
            cache=options.cache,
            batch_size=options.batch_size,
            device=options.device,
        )
    except NotMeasurable as error:
        return say(f"error: {error}", UNGRADED)
    print(json.dumps(report.to_dict(), indent=1) if options.json else report.to_text())
    return OK


def _fid_parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "fid",
        "score a folder of generated images by FID, with its interval",
        epilog="Exit codes: 0 measured (whatever the points), 1 the images cannot be measured, "
        "2 wrong usage,\n3 a fault of the grader. For example:\n"
        "  ddpm-grader fid results/samples data/afhq/eval --json",
    )
    add = parser.add_argument
    add("generated", type=Path, metavar="GENERATED", help="folder of generated images")
    add(
        "reference",
        type=Path,
        metavar="REFERENCE",
        nargs="?",
        default=Path("data/afhq/eval"),
        help="folder of real images, or an .npz of pytorch_fid --save-stats (default: %(default)s)",
    )
    add("--weights", type=Path, metavar="PATH", help="state dict of another Inception (default: pytorch-fid's)")
    add("--training", type=Path, metavar="DIR", help="images that the model was trained on, to look for copies of them")
    add("--json", action="store_true", help="print one JSON object")
    add("--cache", type=Path, metavar="DIR", help="where measured folders are kept (default: ~/.cache/ddpm-grader/fid)")
    add("--batch-size", type=int, default=32, metavar="N", help="images at a time (default: %(default)s)")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where features are computed (default: %(default)s)")
    add("--policy", type=Path, metavar="FILE", help="a TOML file that overrides parts of grader/policy.toml")
    return parser
