"""Installs what is missing, and only that: `python3 -m dev.setup demo|test`. Needs nothing but Python's own library.

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

ROOT = Path(__file__).resolve().parent.parent
STAMPS = ROOT / ".run" / "stamps"
LOGS = ROOT / ".run" / "log"
UV = ROOT / ".venv/bin/uv"
_GIB = 2**30


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


def steps(purpose: str, engine: str) -> list[Step]:
    frontend = ROOT / "frontend"
    python = Step(
        "Python packages",
        _python_packages,
        (ROOT / "requirements-dev.txt", ROOT / "requirements-uv.txt", *ROOT.glob("*/pyproject.toml")),
        ROOT / ".venv/bin/gateway",
    )
    modules = Step(
        "npm packages",
        lambda: _run(["npm", "ci"], frontend),
        (frontend / "package-lock.json",),
        frontend / "node_modules",
    )
    page = Step(
        "the page", lambda: _run(["npm", "run", "build"], frontend), tuple(_sources(frontend)), frontend / "dist"
    )
    vllm = Step(
        "vLLM for the CPU",
        _vllm,
        (ROOT / "dev/requirements-engine.txt",),
        ROOT / ".venv-engine/bin/python",
    )
    wants_vllm = purpose == "test" or engine == "vllm"
    return [python, modules, page, *([vllm] if wants_vllm else [])]


def main() -> None:
    purpose = sys.argv[1] if len(sys.argv) > 1 else "demo"
    engine = os.environ.get("ENGINE") or "vllm"
    try:
        _check_python()
        _check_disk(purpose, engine)
        _system_packages(purpose, engine)
        for step in steps(purpose, engine):
            if not step.done:
                _timed(step.title, step.run)
                step.stamp()
    except (SetupFailed, Missing) as exc:
        sys.exit(f"parley: {exc}")
    except KeyboardInterrupt:
        sys.exit("\nparley: interrupted; run the same command again to go on")


def _system_packages(purpose: str, engine: str) -> None:
    packages = missing(browser=purpose == "test", vllm=purpose == "test" or engine == "vllm")
    if packages:
        _timed(f"Debian packages {' '.join(packages)}", lambda: install(packages, LOGS / "setup.log"))


def _python_packages() -> None:
    _run([sys.executable, "-m", "venv", "--clear", ".venv"])
    _run([".venv/bin/python", "-m", "pip", "install", "-q", "--require-hashes", "-r", "requirements-uv.txt"])
    uv_pip = [str(UV), "pip", "install", "-q", "--python", ".venv"]
    _run([*uv_pip, "--require-hashes", "-r", "requirements-dev.txt"])
    _run([*uv_pip, "--no-build-isolation", "--no-deps", "-e", "gateway", "-e", "auth-service"])


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
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this has not installed anything yet
        raise SetupFailed(f"Python 3.11 or newer is needed, and this is {sys.version.split()[0]}")


def _check_disk(purpose: str, engine: str) -> None:
    needed = 1 if (ROOT / ".venv-engine").exists() or (purpose == "demo" and engine != "vllm") else 5
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
