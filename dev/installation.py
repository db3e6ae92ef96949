"""Installs what is missing, and nothing else; needs only Python's standard library.

Each step writes a stamp, the digest of its inputs, into its output: the next run skips a step whose stamp matches, and
deleting the output deletes the stamp.
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

from dev.debian import PackagesMissing, install_packages, missing_packages
from dev.demo import DemoFailed, read_plan
from dev.folder import AlreadyRunning, locked

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".run/log"
UV = ROOT / ".venv/bin/uv"
_GIB = 2**30
_MIN_NODE = (20, 19)  # as in frontend/package.json: the oldest version that Vite 8 runs on


class SetupFailed(Exception):
    """One sentence for the user: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """`run` must run again if the content of one of the `inputs` changes; `stamp` is a file that is deleted together
    with the `output`."""

    title: str
    run: Callable[[], None]
    inputs: tuple[Path, ...]
    output: Path
    stamp: Path

    @property
    def is_done(self) -> bool:
        stamped = self.stamp.read_text() if self.stamp.exists() else None
        return self.output.exists() and stamped == _digest(self.inputs)

    def perform(self) -> None:
        self.stamp.unlink(missing_ok=True)  # an incomplete output has no stamp
        digest = _digest(self.inputs)
        self.run()
        self.stamp.write_text(digest)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a purpose requires beyond the Python packages."""

    page: bool = False
    vllm: bool = False
    browser: bool = False
    node_sdk: bool = False
    accounts: bool = False


def requirements_of(purpose: str, engine: str) -> Requirements:
    """Raises SetupFailed for an unknown purpose."""
    match purpose:
        case "demo":
            return Requirements(page=True, vllm=engine == "vllm")
        case "test":
            return Requirements(page=True, vllm=True, browser=True, node_sdk=True, accounts=True)
        case "compose":
            return Requirements()
        case _:
            raise SetupFailed(f"{purpose!r}: expected demo, test or compose")


def steps(required: Requirements) -> list[Step]:
    return [
        _python_step(),
        *(_page_steps(ROOT / "frontend") if required.page else []),
        *([_npm_step("the SDK for Node", ROOT / "tests/node")] * required.node_sdk),
        *([_npm_step("the tests' OpenID provider", ROOT / "tests/auth_service/openid_provider")] * required.accounts),
        *([_vllm_step()] * required.vllm),
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
    inputs = (folder / "package-lock.json",)
    return Step(title, lambda: _run(["npm", "ci"], folder), inputs, packages, packages / ".made-from")


def _vllm_step() -> Step:
    venv = ROOT / ".venv-engine"
    lock = ROOT / "dev/requirements-engine.txt"
    return Step("vLLM for the CPU", _vllm, (lock,), venv / "bin/python", venv / ".made-from")


def main() -> None:
    try:
        prepare(sys.argv[1] if len(sys.argv) > 1 else "demo", ROOT / ".run")
    except (SetupFailed, PackagesMissing, DemoFailed, AlreadyRunning) as exc:
        sys.exit(f"parley: {exc}")
    except KeyboardInterrupt:
        sys.exit("\nparley: interrupted; run the same command again to continue")


def prepare(purpose: str, folder: Path) -> None:
    """`folder` is the demo's. Raises SetupFailed, PackagesMissing, DemoFailed and AlreadyRunning."""
    required = requirements_of(purpose, os.environ.get("ENGINE") or "vllm")
    if purpose != "demo":
        _install(required)
        return
    # A running demo uses the files that would be rebuilt here. The demo takes the lock again when it starts.
    with locked(folder):
        read_plan(folder, os.environ)  # reports a taken port before the installation, not after it
        _install(required)


def _install(required: Requirements) -> None:
    _check_disk(required)
    if required.page:
        _check_node()
    packages = missing_packages(
        servers=required.page, browser=required.browser, vllm=required.vllm, database=required.accounts
    )
    if packages:
        _timed(f"Debian packages {' '.join(packages)}", lambda: install_packages(packages, LOGS / "setup.log"))
    for step in steps(required):
        if not step.is_done:
            _timed(step.title, step.perform)


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
        needed, found = ".".join(map(str, _MIN_NODE)), f"node is {version}" + ("" if npm else ", npm is missing")
        raise SetupFailed(f"building the page needs Node {needed} or newer with npm, and {found}")


def is_new_enough(node_version: str) -> bool:
    """`node_version` is the output of `node --version`, such as v20.19.2."""
    numbers = re.match(r"v(\d+)\.(\d+)", node_version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _MIN_NODE


def _check_disk(required: Requirements) -> None:
    needed = 5 if required.vllm and not (ROOT / ".venv-engine").exists() else 1
    free = shutil.disk_usage(ROOT).free / _GIB
    if free < needed:
        raise SetupFailed(f"{ROOT} needs {needed} GiB of free disk space, and {free:.1f} are free")


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
        print(flush=True)  # the error starts on its own line
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
            raise SetupFailed(f"`{' '.join(command[:4])} ...` failed (its output is in {log}):\n  {text}") from None
