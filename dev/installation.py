"""Installs what is missing, and only that, with Python's own library alone.

What is there already is left alone; each step leaves a stamp of what it was made from in what it made, so that the next
run skips it and deleting the product deletes the stamp.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dev.debian import Missing, install, missing
from dev.demo import DemoFailed, plan
from dev.folder import AlreadyRuns, alone

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".run/log"
UV = ROOT / ".venv/bin/uv"
_GIB = 2**30
_NODE = (20, 19)  # as frontend/package.json has it: the oldest that Vite 8 runs on


class SetupFailed(Exception):
    """One sentence for the user: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """`made_from` are the files whose content decides whether `run` must run again; `product` is what it makes, and
    `stamp` a file that goes when the product is deleted."""

    title: str
    run: Callable[[], None]
    made_from: tuple[Path, ...]
    product: Path
    stamp: Path

    @property
    def done(self) -> bool:
        stamped = self.stamp.read_text() if self.stamp.exists() else None
        return self.product.exists() and stamped == _digest(self.made_from)

    def make(self) -> None:
        self.stamp.unlink(missing_ok=True)  # what is half made has none
        made_from = _digest(self.made_from)
        self.run()
        self.stamp.write_text(made_from)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a purpose needs beyond the Python packages."""

    page: bool = False
    vllm: bool = False
    browser: bool = False
    node_sdk: bool = False
    accounts: bool = False


def needs(purpose: str, engine: str) -> Needs:
    """Raises SetupFailed for an unknown purpose."""
    match purpose:
        case "demo":
            return Needs(page=True, vllm=engine == "vllm")
        case "test":
            return Needs(page=True, vllm=True, browser=True, node_sdk=True, accounts=True)
        case "compose":
            return Needs()
        case _:
            raise SetupFailed(f"{purpose!r}: expected demo, test or compose")


def steps(wanted: Needs) -> list[Step]:
    return [
        _python_step(),
        *(_page_steps(ROOT / "frontend") if wanted.page else []),
        *([_npm_step("the SDK for Node", ROOT / "tests/node")] * wanted.node_sdk),
        *([_npm_step("the tests' OpenID provider", ROOT / "tests/auth_service/openid_provider")] * wanted.accounts),
        *([_vllm_step()] * wanted.vllm),
    ]


def _python_step() -> Step:
    names = ("requirements-dev.txt", "requirements-uv.txt", "VERSION")
    locks = (*(ROOT / name for name in names), *ROOT.glob("*/pyproject.toml"))
    venv = ROOT / ".venv"
    return Step("Python packages", _python_packages, locks, venv / "bin/gateway", venv / ".made-from")


def _page_steps(page: Path) -> list[Step]:
    return [
        _npm_step("npm packages", page),
        Step(
            "the page",
            lambda: _run(["npm", "run", "build"], page),
            tuple(_sources(page)),
            page / "dist/index.html",
            page / "node_modules/.page-made-from",  # nginx would serve one in dist
        ),
    ]


def _npm_step(title: str, folder: Path) -> Step:
    packages = folder / "node_modules"
    made_from = (folder / "package-lock.json",)
    return Step(title, lambda: _run(["npm", "ci"], folder), made_from, packages, packages / ".made-from")


def _vllm_step() -> Step:
    venv = ROOT / ".venv-engine"
    lock = ROOT / "dev/requirements-engine.txt"
    return Step("vLLM for the CPU", _vllm, (lock,), venv / "bin/python", venv / ".made-from")


def main() -> None:
    try:
        prepare(sys.argv[1] if len(sys.argv) > 1 else "demo", ROOT / ".run")
    except (SetupFailed, Missing, DemoFailed, AlreadyRuns) as exc:
        sys.exit(f"parley: {exc}")
    except KeyboardInterrupt:
        sys.exit("\nparley: interrupted; run the same command again to go on")


def prepare(purpose: str, folder: Path) -> None:
    """`folder` is the demo's. Raises SetupFailed, Missing, DemoFailed and AlreadyRuns."""
    wanted = needs(purpose, os.environ.get("ENGINE") or "vllm")
    if purpose != "demo":
        _install(wanted)
        return
    # A demo that runs uses what would be built anew here. Ours takes the lock again when it starts.
    with alone(folder):
        plan(folder, os.environ)  # a port that is taken is better told before installing than after
        _install(wanted)


def _install(wanted: Needs) -> None:
    _check_disk(wanted)
    if wanted.page:
        _check_node()
    packages = missing(servers=wanted.page, browser=wanted.browser, vllm=wanted.vllm, database=wanted.accounts)
    if packages:
        _timed(f"Debian packages {' '.join(packages)}", lambda: install(packages, LOGS / "setup.log"))
    for step in steps(wanted):
        if not step.done:
            _timed(step.title, step.make)


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


def _check_node() -> None:
    try:
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        version = "missing"
    npm = shutil.which("npm")
    if npm is None or not is_new_enough(version):
        needed, found = ".".join(map(str, _NODE)), f"node is {version}" + ("" if npm else ", npm is missing")
        raise SetupFailed(f"Node {needed} or newer with npm is needed to build the page, and {found}")


def is_new_enough(node_version: str) -> bool:
    """Of what `node --version` prints, such as v20.19.2."""
    numbers = re.match(r"v(\d+)\.(\d+)", node_version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _NODE


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
    try:
        run()
    except BaseException:
        print(flush=True)  # what went wrong gets a line of its own
        raise
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
