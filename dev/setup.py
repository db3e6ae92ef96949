"""Installs what is missing, and only that: `python3 -m dev.setup demo|test|compose`, with Python's own library alone.

What is there already is left alone; each step leaves a stamp of what it was made from, so that the next run skips it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dev.debian import Missing, install, missing
from dev.demo import DemoFailed, plan

ROOT = Path(__file__).resolve().parent.parent
STAMPS = ROOT / ".run" / "stamps"
LOGS = ROOT / ".run" / "log"
UV = ROOT / ".venv/bin/uv"
_GIB = 2**30
_NODE = 20  # the oldest that Vite 8 runs on


class SetupFailed(Exception):
    """One sentence for the user: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """`made_from` are the files whose content decides whether `run` must run again; `product` is what it makes."""

    title: str
    run: Callable[[], None]
    made_from: tuple[Path, ...]
    product: Path

    @property
    def _stamp(self) -> Path:
        return STAMPS / self.title.replace(" ", "-")

    @property
    def done(self) -> bool:
        stamped = self._stamp.read_text() if self._stamp.exists() else None
        return self.product.exists() and stamped == _digest(self.made_from)

    def stamp(self) -> None:
        STAMPS.mkdir(parents=True, exist_ok=True)
        self._stamp.write_text(_digest(self.made_from))


@dataclass(frozen=True, slots=True)
class Needs:
    """What a purpose needs beyond the Python packages."""

    page: bool = False
    vllm: bool = False
    browser: bool = False


def needs(purpose: str, engine: str) -> Needs:
    """Raises SetupFailed for an unknown purpose."""
    match purpose:
        case "demo":
            return Needs(page=True, vllm=engine == "vllm")
        case "test":
            return Needs(page=True, vllm=True, browser=True)
        case "compose":
            return Needs()
        case _:
            raise SetupFailed(f"{purpose!r}: expected demo, test or compose")


def steps(wanted: Needs) -> list[Step]:
    page = ROOT / "frontend"
    built = [
        Step("npm packages", lambda: _run(["npm", "ci"], page), (page / "package-lock.json",), page / "node_modules"),
        Step("the page", lambda: _run(["npm", "run", "build"], page), tuple(_sources(page)), page / "dist"),
    ]
    lock = ROOT / "dev/requirements-engine.txt"
    vllm = Step("vLLM for the CPU", _vllm, (lock,), ROOT / ".venv-engine/bin/python")
    return [
        Step(
            "Python packages",
            _python_packages,
            (ROOT / "requirements-dev.txt", ROOT / "requirements-uv.txt", *ROOT.glob("*/pyproject.toml")),
            ROOT / ".venv/bin/gateway",
        ),
        *(built if wanted.page else []),
        *([vllm] if wanted.vllm else []),
    ]


def main() -> None:
    try:
        _check_python()
        purpose = sys.argv[1] if len(sys.argv) > 1 else "demo"
        wanted = needs(purpose, os.environ.get("ENGINE") or "vllm")
        if purpose == "demo":
            plan(ROOT / ".run", os.environ)  # a port that is taken is better told before installing than after
        _check_disk(wanted)
        if wanted.page:
            _check_node()
        packages = missing(servers=wanted.page, browser=wanted.browser, vllm=wanted.vllm)
        if packages:
            _timed(f"Debian packages {' '.join(packages)}", lambda: install(packages, LOGS / "setup.log"))
        for step in steps(wanted):
            if not step.done:
                _timed(step.title, step.run)
                step.stamp()
    except (SetupFailed, Missing, DemoFailed) as exc:
        sys.exit(f"parley: {exc}")
    except KeyboardInterrupt:
        sys.exit("\nparley: interrupted; run the same command again to go on")


def _python_packages() -> None:
    _run([sys.executable, "-m", "venv", ".venv"])
    _run([".venv/bin/python", "-m", "pip", "install", "-q", "--require-hashes", "-r", "requirements-uv.txt"])
    _run([str(UV), "pip", "sync", "-q", "--python", ".venv", "--require-hashes", "requirements-dev.txt"])
    services = ["-e", "gateway", "-e", "auth-service"]
    _run([str(UV), "pip", "install", "-q", "--python", ".venv", "--no-build-isolation", "--no-deps", *services])


def _vllm() -> None:
    """torch's CPU build is not on PyPI: it comes from a folder of wheels named by PIP_FIND_LINKS, or from PyTorch."""
    wheels = os.environ.get("PIP_FIND_LINKS", "")
    local = bool(wheels) and any(Path(wheels).glob("torch-*+cpu-*.whl"))
    source = ["--find-links", wheels] if local else ["--torch-backend", "cpu"]
    _run([str(UV), "venv", "-q", "--clear", "--python", sys.executable, ".venv-engine"])
    uv_pip = [str(UV), "pip", "install", "-q", "--python", ".venv-engine", "--require-hashes", "--no-deps", *source]
    # Without compiled files every start costs 57 CPU seconds instead of 15.
    _run([*uv_pip, "-r", "dev/requirements-engine.txt"], environment={"UV_COMPILE_BYTECODE": "1"})


def _check_python() -> None:
    """vLLM's build for the CPU, with the torch it is locked to, exists for these."""
    if not (3, 11) <= sys.version_info < (3, 14):
        raise SetupFailed(f"Python 3.11, 3.12 or 3.13 is needed, and this is {sys.version.split()[0]}")


def _check_node() -> None:
    try:
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        version = "missing"
    if shutil.which("npm") is None or not version.startswith("v") or int(version[1:].split(".")[0]) < _NODE:
        raise SetupFailed(f"Node {_NODE} or newer with npm is needed to build the page, and node is {version}")


def _check_disk(wanted: Needs) -> None:
    needed = 5 if wanted.vllm and not (ROOT / ".venv-engine").exists() else 1
    free = shutil.disk_usage(ROOT).free / _GIB
    if free < needed:
        raise SetupFailed(f"{needed} GiB of disk are needed in {ROOT}, and {free:.1f} are free")


def _sources(frontend: Path) -> Iterable[Path]:
    yield frontend / "package-lock.json"
    for folder, _, files in sorted(os.walk(frontend)):
        if not {"node_modules", "dist"} & set(Path(folder).relative_to(frontend).parts):
            yield from (Path(folder) / name for name in sorted(files))


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _timed(title: str, run: Callable[[], None]) -> None:
    print(f"  installing {title} ...", end="", flush=True)
    started = time.monotonic()
    run()
    print(f" {time.monotonic() - started:.0f} s", flush=True)


def _run(command: list[str], directory: Path = ROOT, environment: dict[str, str] | None = None) -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / "setup.log"
    with log.open("ab") as out:
        try:
            subprocess.run(
                command, cwd=directory, env={**os.environ, **(environment or {})}, stdout=out, stderr=out, check=True
            )
        except FileNotFoundError:
            raise SetupFailed(f"`{command[0]}` is missing; install it and run the same command again") from None
        except subprocess.CalledProcessError:
            last = log.read_text(errors="replace").splitlines()[-8:]
            text = "\n  ".join(last)
            raise SetupFailed(f"`{' '.join(command[:4])} ...` failed (all of it in {log}):\n  {text}") from None


if __name__ == "__main__":
    main()
