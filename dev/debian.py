"""The Debian packages that the local stack needs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_POLICY = Path("/usr/sbin/policy-rc.d")
_SERVICES = ("nginx", "postgresql", "redis-server")


class PackagesMissing(Exception):
    """Packages that this process cannot install; the message names the command that does."""


def missing_packages(*, servers: bool, browser: bool, vllm: bool, database: bool = False) -> list[str]:
    is_installed = {"python3-venv": _has_venv()}
    if servers:
        is_installed |= {"nginx": _has("nginx"), "redis-server": _has("redis-server")}
    if browser:
        is_installed |= {
            "chromium": _has("chromium"),
            "fonts-wqy-zenhei": Path("/usr/share/fonts/truetype/wqy").exists(),
        }
    if database:
        # Not in the PATH: one folder per version.
        is_installed["postgresql"] = any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if vllm:
        is_installed["libnuma1"] = _has_library("libnuma.so.1")
    return [package for package, installed in is_installed.items() if not installed]


def install_packages(packages: Sequence[str], log: Path) -> None:
    """Raises PackagesMissing, with one sentence that says what to do."""
    by_hand = f"apt-get install {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise PackagesMissing(f"{', '.join(packages)} are missing; install them and run the same command again")
    if os.geteuid() != 0:
        raise PackagesMissing(
            f"{', '.join(packages)} are missing, and installing them needs root: run `{by_hand}` as root first"
        )
    log.parent.mkdir(parents=True, exist_ok=True)
    new_services = [service for service in _SERVICES if service in packages]
    with log.open("ab") as out, _no_service_starts():
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            if subprocess.run(command, env=environment, stdout=out, stderr=out, check=False).returncode:
                raise PackagesMissing(f"`{' '.join(command)}` failed (its output is in {log}); run it by hand")
    if new_services and shutil.which("systemctl"):
        # The stack starts its own servers; the system's would take ports 80, 5432 and 6379 at the next boot.
        subprocess.run(["systemctl", "disable", *new_services], capture_output=True, check=False)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian starts a server as soon as it is installed, unless this script exits with 101."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _has(program: str) -> bool:
    return any(shutil.which(program, path=path) for path in (None, "/usr/sbin:/usr/bin"))


def _has_venv() -> bool:
    return find_spec("ensurepip") is not None and find_spec("venv") is not None


def _has_library(name: str) -> bool:
    listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False)
    return name in listing.stdout or sys.platform != "linux"
