#!/usr/bin/env python3
"""Set up the environment of `make demo` and `make test`: ROS 2 from PyPI, PyTorch, our interfaces, this package.

    python3 tools/setup_env.py demo      # what the demo needs
    python3 tools/setup_env.py test      # and what the tests need besides

Needs Python 3.10 to 3.14, a C++ compiler, and a package index; no ROS, no root, no CUDA. Where Debian's or Ubuntu's
Python lacks its headers or pip (packages python3-dev, python3-venv), they are downloaded into the environment.

Packages come from one index, in the versions and with the digests of requirements/lock.txt. PyTorch alone has no
digest there, because its build is chosen by the index it comes from.

Every step leaves a stamp with a digest of what it was made from, so a second run does nothing and a changed requirement
repeats its step alone. Two runs at once wait for each other.

Environment variables:
    VENV         folder of the environment (.venv)
    TORCH_INDEX  index that PyTorch comes from: a URL, `default` for pip's own index (PyPI's build for Linux is the
                 CUDA one, several GB), or empty: PyTorch's index of CPU builds where it answers, else pip's own
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
LOCK = REQUIREMENTS / "lock.txt"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


class SetupError(Exception):
    """The set-up can't go on; the message says what to do about it."""


class Environment:
    """A virtual environment and the stamps of the steps that were completed in it.

    Args:
        folder: The environment's folder; made by `create`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def create(self) -> None:
        """Make the environment anew, also where Debian's python3-venv isn't installed.

        Raises:
            SetupError: The folder holds something else.
        """
        if self.folder.is_dir() and any(self.folder.iterdir()) and not (self.folder / "pyvenv.cfg").is_file():
            raise SetupError(f"{self.folder} is no virtual environment: name another folder, `make VENV=...`.")
        shutil.rmtree(self.folder, ignore_errors=True)
        arguments = [sys.executable, "-m", "venv", str(self.folder)]
        ensurepip = importlib.util.find_spec("ensurepip")
        if ensurepip is None or ensurepip.origin is None:
            _run([*arguments, "--without-pip"])
            with tempfile.TemporaryDirectory() as work:
                wheel = _download_pip(Path(work))
                _run([self.python, f"{wheel}/pip", "install", "--quiet", "--no-index", wheel])
        else:
            _run(arguments)
            with tempfile.TemporaryDirectory() as work:
                wanted = Path(work, "pip.txt")
                wanted.write_text(f"pip=={PIP_WHEEL.split('-')[1]} --hash=sha256:{PIP_SHA256}\n")
                self.install("--upgrade", "--require-hashes", "--requirement", wanted)

    def install(self, *arguments: str | Path) -> None:
        """Run `pip install`, quietly. Python compiles the modules that are used; pip would compile all of them."""
        _run([self.python, "-m", "pip", "install", "--quiet", "--no-compile", *arguments])

    def install_locked(self, requirements: Path) -> None:
        """Install a file of requirements, each in the version and with a digest that requirements/lock.txt has."""
        locked = ("--require-hashes", "--constraint", LOCK, "--build-constraint", LOCK)
        self.install(*locked, "--requirement", requirements)

    def step(self, name: str, inputs: Iterable[Path], action: Callable[[], None]) -> None:
        """Do a step unless it was done before with the same inputs.

        Args:
            name: Name of the step, shown to the user and of its stamp.
            inputs: Files and folders that the step's result depends on, besides the Python at work.
            action: The step.
        """
        digest = _digest(inputs)
        stamp = self.folder / ".setup" / name
        if stamp.is_file() and stamp.read_text() == digest:
            return
        print(f"set-up: {name} ...", flush=True)
        action()
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(digest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up the environment and return the exit status."""
    parser = argparse.ArgumentParser(description="Set up the environment of `make demo` and `make test`.")
    parser.add_argument("purpose", choices=("demo", "test"))
    purpose = parser.parse_args(arguments).purpose
    folder = Path(os.environ.get("VENV") or ROOT / ".venv").absolute()
    try:
        _check_machine()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(Path(f"{folder}.lock")):
            _set_up(Environment(folder), test=purpose == "test")
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"set-up: failed with status {error.returncode}: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for other set-ups of the same environment.

    The file's name can be guessed, and its folder may be shared (`make VENV=/tmp/env`): so a link that somebody put
    there is not followed, and what the file holds is left alone.

    Raises:
        SetupError: The lock cannot be had.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"{path} cannot be used as the lock of this set-up ({error.strerror}): remove it.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _set_up(environment: Environment, *, test: bool) -> None:
    """Do all steps, cheap ones first where the order is free."""

    def install(name: str) -> Callable[[], None]:
        return lambda: environment.install_locked(REQUIREMENTS / name)

    environment.step("environment", [], environment.create)
    environment.step("what PyTorch needs", [REQUIREMENTS / "torch_needs.txt", LOCK], install("torch_needs.txt"))
    torch = REQUIREMENTS / "torch.txt"
    environment.step("PyTorch", [torch], lambda: environment.install(*_torch_index(), "--requirement", torch))
    environment.step("libraries", [REQUIREMENTS / "run.txt", LOCK], install("run.txt"))
    environment.step("ROS 2", [REQUIREMENTS / "ros.txt", LOCK], install("ros.txt"))
    environment.step("interfaces", [ROOT / "msg", ROOT / "srv", ROOT / "action", LOCK], lambda: environment.install(
        "--no-deps", "--force-reinstall", "--build-constraint", LOCK, *_header_settings(environment.folder),
        ROOT / "msg"
    ))  # fmt: skip
    environment.step("this package", [ROOT / "setup.py", ROOT / "pyproject.toml"], lambda: environment.install(
        "--no-deps", "--build-constraint", LOCK, "--editable", ROOT
    ))  # fmt: skip
    environment.step("console", [REQUIREMENTS / "console.txt", LOCK], install("console.txt"))
    if test:
        environment.step("training", [REQUIREMENTS / "train.txt", LOCK], install("train.txt"))
        environment.step("annotation", [REQUIREMENTS / "annotate.txt", LOCK], install("annotate.txt"))
        environment.step("test tools", [REQUIREMENTS / "test.txt", LOCK], install("test.txt"))
        environment.step("colcon", [REQUIREMENTS / "colcon.txt", LOCK], install("colcon.txt"))
        reference = REQUIREMENTS / "reference.txt"
        environment.step("reference code", [reference], lambda: _install_reference(environment, reference))


def _install_reference(environment: Environment, requirements: Path) -> None:
    """Install what tests compare with, alone: not what it asks for, and not SAM 2's CUDA extension."""
    os.environ["SAM2_BUILD_CUDA"] = "0"
    environment.install("--no-deps", "--no-build-isolation", "--require-hashes", "--requirement", requirements)


def _check_machine() -> None:
    """Refuse machines on which a later step would fail, with what to do.

    Raises:
        SetupError: Another processor, Python, or something is missing.
    """
    if os.environ.get("ROS_DISTRO"):
        raise SetupError(
            f"ROS {os.environ['ROS_DISTRO']} is sourced in this shell. This environment brings its own ROS; "
            "use a shell without one, or build with colcon (README, 'On a robot')."
        )
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise SetupError(
            f"ROS 2 is on PyPI for Linux on x86_64 only, this is {platform.system()} on {platform.machine()}: "
            "install ROS 2 with apt and build with colcon (README, 'On a robot')."
        )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (3, 10) <= sys.version_info[:2] <= (3, 14):
        raise SetupError(f"Python 3.10 to 3.14 is needed, this is {version}: name another, `make PYTHON=python3.12`.")
    if not (shutil.which("cc") and shutil.which("c++")):
        raise SetupError("To compile the ROS interfaces, first do: sudo apt-get install g++")


def _header_settings(folder: Path) -> list[str]:
    """Find Python's headers; download Debian's package of them, without installing it, where they are missing.

    Args:
        folder: Where downloaded headers are kept: the environment.

    Returns:
        pip's arguments that tell the interfaces' build where the headers are; none for the interpreter's own place.

    Raises:
        SetupError: There are no headers and none to be had.
    """
    if Path(sysconfig.get_path("include"), "Python.h").is_file():
        return []
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    include = folder / "python-headers" / "usr" / "include"
    if not (include / f"python{version}" / "Python.h").is_file():
        package = f"libpython{version}-dev"
        try:
            with tempfile.TemporaryDirectory() as work:
                subprocess.run(["apt-get", "download", "-qq", package], cwd=work, check=True)
                (archive,) = Path(work).glob("*.deb")
                _run(["dpkg-deb", "--extract", archive, folder / "python-headers"])
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise SetupError(
                f"Python's headers are missing, to compile the ROS interfaces against. First do: "
                f"sudo apt-get install python{version}-dev"
            ) from error
    return ["--config-settings", f"cmake.define.PYTHON_HEADERS={include}"]


def _torch_index() -> list[str]:
    """Choose the one index that PyTorch comes from; see the module's docstring.

    Not beside another index: of a name that both have, pip would take the newer version, whoever put it there.
    """
    chosen = os.environ.get("TORCH_INDEX", "")
    if chosen == "default":
        return []
    if chosen:
        return ["--index-url", chosen]
    try:
        with urllib.request.urlopen(f"{TORCH_CPU_INDEX}/torch/", timeout=10):
            return ["--index-url", TORCH_CPU_INDEX]
    except OSError:
        print(f"set-up: {TORCH_CPU_INDEX} doesn't answer; PyTorch comes from pip's own index", flush=True)
        return []


def _package_index() -> str:
    """Return the package index to use: the one that the user named to pip, else PyPI."""
    return os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")


def _download_pip(folder: Path) -> Path:
    """Download pip's wheel, which runs as it is, and check it against its known digest."""
    page = f"{_package_index()}/pip/"
    try:
        with urllib.request.urlopen(page, timeout=60) as answer:
            links = re.findall(r'href="([^"#]*)', answer.read().decode())
        link = next((link for link in links if link.endswith(f"/{PIP_WHEEL}")), None)
        if link is None:
            raise SetupError(f"{page} has no {PIP_WHEEL}.")
        with urllib.request.urlopen(urllib.parse.urljoin(page, link), timeout=60) as answer:
            data = answer.read()
    except OSError as error:
        raise SetupError(
            f"pip can't be downloaded from {page} ({error}). Either make the index reachable, or do: "
            "sudo apt-get install python3-venv"
        ) from error
    if hashlib.sha256(data).hexdigest() != PIP_SHA256:
        raise SetupError(f"{page} gave a {PIP_WHEEL} that isn't the published one.")
    wheel = folder / PIP_WHEEL
    wheel.write_bytes(data)
    return wheel


def _digest(inputs: Iterable[Path]) -> str:
    """Compute a digest of files, and of all files below folders: their paths and contents."""
    total = hashlib.sha256(sys.version.encode())
    for item in inputs:
        for path in sorted(item.rglob("*")) if item.is_dir() else [item]:
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def _run(command: Sequence[str | Path]) -> None:
    """Run a command in the repository's root; its output is the user's to see."""
    # A Python of another environment with ROS wheels leaves its library path and a mark that it is set.
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}  # of build tools, about themselves
    if environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None):
        environment.pop("LD_LIBRARY_PATH", None)
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    sys.exit(main())
