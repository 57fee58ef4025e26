"""The set-up script: steps are repeated when their inputs change, and machines that can't work are told why."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import http.server
import importlib.util
import os
import platform
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setup_env() -> ModuleType:
    """Import the script, which is no package."""
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools" / "setup_env.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_step_is_done_once_and_again_when_its_inputs_change(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(setup_env, "ROOT", tmp_path)
    environment = setup_env.Environment(tmp_path / "venv")
    (tmp_path / "venv").mkdir()
    folder = tmp_path / "msg"
    folder.mkdir()
    (folder / "A.msg").write_text("uint8 a")
    done = []

    def step() -> None:
        environment.step("interfaces", [folder], lambda: done.append(1))

    step()
    step()
    assert len(done) == 1
    (folder / "A.msg").write_text("uint8 b")
    step()
    assert len(done) == 2
    (folder / "B.msg").write_text("")
    step()
    assert len(done) == 3


def test_failed_step_is_repeated(setup_env: ModuleType, tmp_path: Path) -> None:
    environment = setup_env.Environment(tmp_path)
    done = []

    def fail() -> None:
        raise subprocess.CalledProcessError(1, "pip")

    with pytest.raises(subprocess.CalledProcessError):
        environment.step("libraries", [ROOT / "setup.py"], fail)
    environment.step("libraries", [ROOT / "setup.py"], lambda: done.append(1))

    assert done


def test_environment_without_ensurepip_has_pip(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a Debian without python3-venv; the wheel is the one inside this Python's ensurepip, where it has one."""
    bundled = importlib.util.find_spec("ensurepip")
    wheels = list(Path(str(bundled.origin)).parent.glob("_bundled/pip-*.whl")) if bundled else []
    if not wheels:
        pytest.skip("no pip wheel at hand without a network")
    monkeypatch.setattr(setup_env.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(setup_env, "_download_pip", lambda folder: wheels[0])
    environment = setup_env.Environment(tmp_path / "venv")
    environment.create()

    version = subprocess.run(
        [environment.python, "-m", "pip", "--version"], check=True, capture_output=True, text=True
    ).stdout
    assert str(tmp_path) in version


def test_folder_that_is_no_environment_is_left_alone(setup_env: ModuleType, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")

    with pytest.raises(setup_env.SetupError, match="is no virtual environment"):
        setup_env.Environment(tmp_path).create()
    assert precious.read_text() == "mine"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder by HTTP, as a package index does; gives its address and the folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serve files without a log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_downloaded_pip_must_be_the_published_one(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path], tmp_path: Path
) -> None:
    address, folder = server
    wheel, page = folder / "files" / setup_env.PIP_WHEEL, folder / "simple" / "pip" / "index.html"
    for path in (wheel, page):
        path.parent.mkdir(parents=True)
    wheel.write_bytes(b"a wheel")
    page.write_text(f'<a href="../../files/{setup_env.PIP_WHEEL}#sha256=0">pip</a>')
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple/")

    with pytest.raises(setup_env.SetupError, match="isn't the published one"):
        setup_env._download_pip(tmp_path)
    monkeypatch.setattr(setup_env, "PIP_SHA256", hashlib.sha256(b"a wheel").hexdigest())
    assert setup_env._download_pip(tmp_path).read_bytes() == b"a wheel"
    page.write_text("no such file")
    with pytest.raises(setup_env.SetupError, match="has no pip-"):
        setup_env._download_pip(tmp_path)


def test_pytorch_comes_from_its_cpu_index_where_that_answers(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path]
) -> None:
    address, folder = server
    monkeypatch.delenv("TORCH_INDEX", raising=False)
    monkeypatch.setattr(setup_env, "TORCH_CPU_INDEX", address)

    assert setup_env._torch_index() == [], "the index has no torch"
    (folder / "torch").mkdir()
    assert setup_env._torch_index() == ["--index-url", address]


def test_pytorch_comes_from_the_index_that_the_user_names(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_INDEX", "https://download.pytorch.org/whl/cu130")
    assert setup_env._torch_index() == ["--index-url", "https://download.pytorch.org/whl/cu130"]
    monkeypatch.setenv("TORCH_INDEX", "default")
    assert setup_env._torch_index() == []


class Version(tuple[int, ...]):
    """A version of Python as `sys.version_info` gives it."""

    major, minor = 3, 9


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda patch: patch.setenv("ROS_DISTRO", "kilted"), "ROS kilted is sourced"),
        (lambda patch: patch.setattr(platform, "machine", lambda: "aarch64"), "Linux on x86_64 only"),
        (lambda patch: patch.setattr(sys, "version_info", Version((3, 9))), "Python 3.10 to 3.14 is needed"),
        (lambda patch: patch.setattr("shutil.which", lambda name: None), r"apt-get install .*g\+\+"),
    ],
    ids=["ros", "processor", "python", "compiler"],
)
def test_machine_that_cannot_work_is_told_why(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None], reason: str
) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    change(monkeypatch)

    with pytest.raises(setup_env.SetupError, match=reason):
        setup_env._check_machine()


def test_headers_of_the_interpreter_need_no_setting(setup_env: ModuleType, tmp_path: Path) -> None:
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("this Python has no headers")

    assert setup_env._header_settings(tmp_path) == []


def test_missing_headers_are_downloaded_or_asked_for(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the two programs of Debian that this takes, in small; then with neither."""
    package = f"libpython{sys.version_info.major}.{sys.version_info.minor}-dev"
    header = f"usr/include/python{sys.version_info.major}.{sys.version_info.minor}/Python.h"
    programs = {
        "apt-get": f'test "$*" = "download -qq {package}" && touch {package}_amd64.deb',
        "dpkg-deb": f'test -f "$2" && mkdir -p "$3/$(dirname {header})" && touch "$3/{header}"',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    settings = setup_env._header_settings(tmp_path / "venv")
    assert settings == ["--config-settings", f"cmake.define.PYTHON_HEADERS={tmp_path}/venv/python-headers/usr/include"]
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert setup_env._header_settings(tmp_path / "venv") == settings, "downloaded once"
    with pytest.raises(setup_env.SetupError, match=r"apt-get install python3\.\d+-dev"):
        setup_env._header_settings(tmp_path / "other")


def test_what_is_locked_is_installed_by_its_digest(
    setup_env: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With pip itself, against a folder instead of an index: the right digest is taken, another one refused."""
    wheel = tmp_path / "wheels" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    (tmp_path / "wanted.txt").write_text("tiny\n")
    monkeypatch.setattr(setup_env, "LOCK", tmp_path / "lock.txt")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    environment = setup_env.Environment(Path(sys.prefix))

    def install(digest: str) -> None:
        (tmp_path / "lock.txt").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
        monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
        environment.install_locked(tmp_path / "wanted.txt")

    with pytest.raises(subprocess.CalledProcessError):
        install("0" * 64)
    assert not (tmp_path / "target" / "tiny.py").exists()
    install(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert (tmp_path / "target" / "tiny.py").exists()


def test_a_link_in_the_place_of_the_lock_is_not_followed(setup_env: ModuleType, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / "env.lock").symlink_to(precious)
    with (
        pytest.raises(setup_env.SetupError, match="cannot be used as the lock"),
        setup_env._locked(tmp_path / "env.lock"),
    ):
        pass
    assert precious.read_text() == "mine"


def test_two_set_ups_wait_for_each_other(tmp_path: Path) -> None:
    """While another set-up holds the lock, this one does nothing."""
    venv = tmp_path / "venv"
    environment = {name: value for name, value in os.environ.items() if name != "ROS_DISTRO"} | {"VENV": str(venv)}
    with open(f"{venv}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen([sys.executable, ROOT / "tools" / "setup_env.py", "demo"], env=environment)
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(timeout=2)
            assert not venv.exists()
        finally:
            waiting.kill()
            waiting.wait()
