"""DDS domains: processes at the same time get different ones, and whoever ends gives theirs back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sam_ros.runtime.dds import PROFILE_VARIABLE
from sam_ros.runtime.domain import private_domain


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what `private_domain` sets."""
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", PROFILE_VARIABLE):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def test_two_processes_get_two_domains() -> None:
    code = (
        "import os; from sam_ros.runtime.domain import private_domain\n"
        "lock = private_domain(); print(os.environ['ROS_DOMAIN_ID'], flush=True); input()"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as two:
        domains = [one.stdout.readline().strip(), two.stdout.readline().strip()]
        for process in (one, two):
            process.communicate("\n", timeout=60)
    assert domains[0] != domains[1]
    assert all(1 <= int(domain) <= 100 for domain in domains)


def test_a_domain_is_free_again_after_its_context() -> None:
    with private_domain():
        first = os.environ["ROS_DOMAIN_ID"]
        with private_domain():
            assert os.environ["ROS_DOMAIN_ID"] != first
    with private_domain():
        assert os.environ["ROS_DOMAIN_ID"] == first


@pytest.mark.parametrize("error", [OSError("a file"), ValueError("a number")])
def test_an_error_inside_of_the_context_comes_out_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, private_domain():
        raise error
    assert caught.value is error
