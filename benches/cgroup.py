"""A control group of Linux that limits the memory of a server, with the page cache of its files."""

import os
from contextlib import suppress
from pathlib import Path

# Where groups are, and the file of a group's limit: version 2, then version 1.
LIMITS = {Path("/sys/fs/cgroup"): "memory.max", Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes"}


class Cgroup:
    """A group NAME, made for the server that it holds, and removed at the end, when the server has stopped."""

    def __init__(self, name: str):
        self.name, self.directory = name, None

    def __enter__(self) -> "Cgroup":
        return self

    def __exit__(self, *_) -> None:
        self._remove()

    def hold(self, postmaster: int, megabytes: int) -> bool:
        """Limits a server and the processes that it starts; False where that cannot be, as without root's rights."""
        for root, limit in LIMITS.items():
            if not (root / "cgroup.procs").exists():
                continue
            try:
                self._hold(root, limit, postmaster, megabytes)
                return True
            except OSError as error:
                print(f"no control group in {root}: {error}", flush=True)
                self._remove()
        return False

    def _remove(self) -> None:
        if self.directory:
            self.directory.rmdir()
            self.directory = None

    def _hold(self, root: Path, limit: str, postmaster: int, megabytes: int) -> None:
        if (root / "cgroup.subtree_control").exists():
            _set(root / "cgroup.subtree_control", "+memory")
        directory = root / self.name
        directory.mkdir(exist_ok=True)
        self.directory = directory
        _set(directory / limit, str(megabytes << 20))
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        _set(directory / "cgroup.procs", str(postmaster))
        for child in children:
            # A worker may have ended.
            with suppress(ProcessLookupError):
                _set(directory / "cgroup.procs", child)


def _set(file: Path, value: str) -> None:
    """Writes to a file that is there: one made by writing would limit nothing."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
