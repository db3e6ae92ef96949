"""A small disk for Redis alone, which can fill up and lose power."""

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

_BYTES = 192 * 2**20
_BALLAST = "ballast"
_PIECES = (2**20, 4096, 1)
# ext4's EXT4_IOC_SHUTDOWN with NOLOGFLUSH: nothing reaches the disk any more, not even the journal.
_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSHING = struct.pack("I", 2)


class NoDisk(Exception):
    """The message says why."""


class Disk:
    """ext4 in a file, mounted on `folder`; needs root and a loop device. Raises NoDisk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._image = folder.with_suffix(".ext4")
        if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
            raise NoDisk("a disk of its own for Redis needs root and mkfs.ext4")
        folder.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as image:
            image.truncate(_BYTES)
        _run("mkfs.ext4", "-q", "-m", "0", str(self._image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self._folder))

    def unmount(self) -> None:
        _run("umount", str(self._folder))

    def remove(self) -> None:
        self.unmount()
        self._image.unlink()

    def fill(self) -> None:
        """To the last byte."""
        with (self._folder / _BALLAST).open("wb", buffering=0) as ballast:
            for size in _PIECES:
                try:
                    while ballast.write(b"\0" * size) == size:
                        pass
                except OSError:
                    continue

    def leave(self, free_bytes: int) -> None:
        """Fills it but for these."""
        disk = os.statvfs(self._folder)
        with (self._folder / _BALLAST).open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, disk.f_bavail * disk.f_frsize - free_bytes)

    def empty(self) -> None:
        (self._folder / _BALLAST).unlink()

    def cut_power(self) -> None:
        """Loses what was not synced. The disk must be mounted again."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, _WITHOUT_FLUSHING)
        finally:
            os.close(folder)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDisk(f"{command[0]}: {done.stderr.strip()}")
