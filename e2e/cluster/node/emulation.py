"""Programs of arm64 on a machine of another kind: QEMU's user mode, known to one user namespace and to nothing else.

The kernel has a table of emulators for each user namespace (binfmt_misc, since Linux 6.7), so nothing of the machine is
changed, and nothing is left behind once the command has ended. Run as a program, this file makes such a namespace and
becomes the command that it is given.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_QEMU: Final = "qemu-aarch64-static"
_PACKAGE: Final = "qemu-user-static"
_TABLE: Final = Path("/proc/sys/fs/binfmt_misc")
#: The first bytes of a program or library of arm64, and which of their bits count. Source: elf(5), EM_AARCH64.
_MAGIC: Final = "7f454c460201010000000000000000000200b700"
_MASK: Final = "ffffffffffffff00fffffffffffffffffeffffff"
#: Source: linux/sched.h.
_NEW_MOUNTS: Final = 0x00020000
_NEW_USERS: Final = 0x10000000
#: Users 0 to 65535 of the namespace are those of the machine: files of images keep their owners.
_USERS: Final = "0 0 65536\n"


def command(*arguments: str) -> list[str]:
    """The command as one under which programs of arm64 run; the process stays the same one."""
    if platform.machine() == "aarch64":
        return list(arguments)
    return [sys.executable, __file__, *arguments]


def lacking() -> str:
    """What this machine lacks for running programs of arm64; empty for nothing."""
    if platform.machine() == "aarch64":
        return ""
    if shutil.which(_QEMU) is None:
        return f"programs of arm64 need {_QEMU}; on Debian: apt-get install -y --no-install-recommends {_PACKAGE}"
    if os.geteuid() != 0:
        return "programs of arm64 run in a namespace that has every user of an image, which only root can make"
    done = subprocess.run(command("true"), capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"no emulator can be registered here: {done.stderr.strip()}"


def _enter() -> None:
    """Go into namespaces of users and mounts, and register the emulator there."""
    ready, entered = os.pipe()
    helper = os.fork()
    if helper == 0:
        # Only a process outside may give the namespace more than one user.
        os.close(entered)
        os.read(ready, 1)
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{os.getppid()}/{kind}").write_text(_USERS)
        os._exit(0)
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.unshare(_NEW_USERS | _NEW_MOUNTS)
    os.close(entered)
    os.close(ready)
    if os.waitpid(helper, 0)[1] != 0 or failed:
        raise SystemExit(f"no namespace of users: {os.strerror(ctypes.get_errno())}")
    for arguments in (["--make-rprivate", "/"], ["-t", "binfmt_misc", "binfmt_misc", str(_TABLE)]):
        subprocess.run(["mount", *arguments], check=True)
    # F: the emulator is opened now, since programs below other roots do not find its file.
    rule = f":arm64:M::{_escaped(_MAGIC)}:{_escaped(_MASK)}:{shutil.which(_QEMU)}:F"
    (_TABLE / "register").write_text(rule)


def _escaped(digits: str) -> str:
    return "".join(f"\\x{digits[place : place + 2]}" for place in range(0, len(digits), 2))


if __name__ == "__main__":
    _enter()
    os.execvp(sys.argv[1], sys.argv[1:])
