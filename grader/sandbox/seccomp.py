"""A filter of system calls: what would get around the limits on memory, or out of the namespaces, is refused.

It is a classic BPF program for seccomp, handed to bubblewrap. Every call that is not listed stays allowed:
the namespaces and the limits are the walls, this closes their gaps. Where there are no namespaces
(`--sandbox user`), it also is the wall around the network, and the worker loads it itself. There are no sockets.
"""

from __future__ import annotations

import errno
import platform
import struct

# Audit number of the machine, and the numbers of what is refused (with ENOSYS, as if the kernel had no such
# call). Memory that no limit counts: memfd_create, memfd_secret, shmget, msgget, semget, mq_open. Namespaces
# and mounts, which bring back rights: unshare, setns, mount, umount2, pivot_root, chroot, fsopen, fsmount,
# move_mount, open_tree, clone3 (its flags are out of sight; libraries fall back on clone). The rest is the
# kernel's own attack surface: bpf, perf_event_open, userfaultfd, io_uring_*, keyctl, add_key, request_key,
# ptrace, process_vm_readv and _writev.
MACHINES: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (
        0xC000003E,
        (
            319,
            447,
            29,
            68,
            64,
            240,
            272,
            308,
            165,
            166,
            155,
            161,
            430,
            432,
            429,
            428,
            435,
            321,
            298,
            323,
            425,
            426,
            427,
            250,
            248,
            249,
            101,
            310,
            311,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            279,
            447,
            194,
            186,
            190,
            180,
            97,
            268,
            40,
            39,
            41,
            51,
            430,
            432,
            429,
            428,
            435,
            280,
            241,
            282,
            425,
            426,
            427,
            219,
            217,
            218,
            117,
            270,
            271,
        ),
    ),
}
# Nobody here needs a socket, and the full buffers of many are gigabytes of the kernel's memory that no limit counts:
# socket, socketpair, connect, bind, listen, accept, accept4. Others' descriptors: kcmp, pidfd_getfd.
SOCKETS = {"x86_64": (41, 53, 42, 49, 50, 43, 288, 312, 438), "aarch64": (198, 199, 203, 200, 201, 202, 242, 272, 438)}
CLONE = {"x86_64": 56, "aarch64": 220}
FCNTL = {"x86_64": 72, "aarch64": 25}
F_SETPIPE_SZ = 1031  # a pipe holds 64 KiB, and would hold 1 MiB
NEW_NAMESPACE = 0x7E020000  # CLONE_NEW* of mount, cgroup, uts, ipc, user, pid and net

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL = 0x7FFF0000, 0x80000000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT, SECOND_ARGUMENT = 0, 4, 16, 24  # offsets in struct seccomp_data
FOREIGN = 0x40000000  # first number of the x32 calls


def program(machine: str = platform.machine()) -> bytes:
    """The filter for a machine's native calls, others end the process; empty for an unknown machine."""
    if machine not in MACHINES:
        return b""
    audit, refused = MACHINES[machine]
    refuse = (RETURN, 0, 0, 0x00050000 | errno.ENOSYS)
    code = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, FOREIGN),
        (RETURN, 0, 0, KILL),
    ]
    for number in (*refused, *SOCKETS[machine]):
        code += [(EQUAL, 0, 1, number), refuse]
    allow = (RETURN, 0, 0, ALLOW)
    code += [(EQUAL, 0, 4, CLONE[machine]), (LOAD, 0, 0, FIRST_ARGUMENT), (ANY_BIT, 0, 1, NEW_NAMESPACE), refuse, allow]
    code += [(EQUAL, 0, 3, FCNTL[machine]), (LOAD, 0, 0, SECOND_ARGUMENT), (EQUAL, 0, 1, F_SETPIPE_SZ), refuse]
    return b"".join(struct.pack("=HBBI", *line) for line in [*code, allow])
