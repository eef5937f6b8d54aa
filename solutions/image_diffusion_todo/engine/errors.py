"""How the lab's scripts tell people what went wrong: what, where and what to do, instead of a traceback."""

import errno
import sys
from collections.abc import Callable

import torch


class LabError(Exception):
    """Something that the person at the keyboard can mend; the text says how."""


def run_script(main: Callable[[], None]) -> int:
    """main(), with people's mistakes as a line on stderr. Returns the exit code: 0 fine, 1 not, 130 for Ctrl-C.

    Any other exception is a bug of ours or in a TODO, and keeps its traceback.
    """
    try:
        main()
    except LabError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        print(f"{sys.argv[0]}: {error}. {WHAT_TO_DO[error.errno]}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError:
        print(
            f"{sys.argv[0]}: the GPU's memory is full: try --batch_size with half the number, and see with nvidia-smi"
            " whether another program holds memory",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


FULL = "The disk or your quota is full: make room, then start again; files that were complete before still are"
CLOSED = "No file can be written there: choose another folder"
WHAT_TO_DO = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EACCES: CLOSED, errno.EROFS: CLOSED}


def device_named(name: str | None) -> torch.device:
    """The device of that name; without a name the GPU if there is one."""
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise LabError(f"'{name}' is no device; known are cpu, cuda, cuda:1 and so on, mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise LabError(
            f"{name} was asked for, and torch {torch.__version__} sees {torch.cuda.device_count()} GPUs."
            " Leave --device out to take what there is; nvidia-smi shows whether the driver sees more, and"
            " https://pytorch.org names the torch for it"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise LabError("mps was asked for, and this torch sees no Apple GPU: leave --device out")
    return device
