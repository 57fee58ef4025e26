"""What people expect at a repository's root: it parses, and says the same as the rest.

GitHub runs the workflow and shows the forms; neither can be tried here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
pytestmark = pytest.mark.skipif(not (ROOT / ".github").is_dir(), reason="a source distribution has no .github")


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_workflow_runs_the_two_commands_on_two_pythons_and_colcon() -> None:
    jobs = load(".github/workflows/ci.yml")["jobs"]

    assert len(jobs["commands"]["strategy"]["matrix"]["python"]) == 2
    assert all(isinstance(python, str) for python in jobs["commands"]["strategy"]["matrix"]["python"]), "3.10 isn't 3.1"
    assert "make test" in commands(jobs["commands"])
    assert "make demo" in commands(jobs["commands"])
    assert jobs["colcon"]["container"] == "ros:jazzy"
    assert {"colcon build", "colcon test"} <= set(re.findall(r"colcon \w+", commands(jobs["colcon"])))


def test_workflow_names_folders_that_exist() -> None:
    text = commands(load(".github/workflows/ci.yml")["jobs"]["colcon"])

    paths = set(re.findall(r"src/sam_ros/([\w/.]+)", text))
    assert {"msg", "requirements/robot.txt", "tests/packaging/dependent_msgs"} == paths
    assert all((ROOT / path).exists() for path in paths)


def test_hooks_use_the_locked_ruff() -> None:
    (hooks,) = [repo for repo in load(".pre-commit-config.yaml")["repos"] if repo["repo"].endswith("ruff-pre-commit")]

    assert f"ruff=={hooks['rev'].removeprefix('v')} " in (ROOT / "requirements" / "lock.txt").read_text()
    assert {hook["id"] for hook in hooks["hooks"]} == {"ruff-check", "ruff-format"}


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_complete(form: Path) -> None:
    content = yaml.safe_load(form.read_text())

    assert {"name", "description", "body"} <= set(content)
    identifiers = [item["id"] for item in content["body"]]
    assert len(identifiers) == len(set(identifiers))
    assert all(item["type"] in ("input", "textarea") and item["attributes"]["label"] for item in content["body"])


def test_bug_reports_ask_for_the_diagnostics() -> None:
    body = load(".github/ISSUE_TEMPLATE/bug_report.yml")["body"]

    (diagnostics,) = [item for item in body if item["id"] == "diagnostics"]
    assert "/diagnostics" in diagnostics["attributes"]["description"]
    assert diagnostics["validations"]["required"]


def test_citation_is_of_this_version() -> None:
    citation = load("CITATION.cff")

    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["version"] == ElementTree.parse(ROOT / "package.xml").findtext("version")
    assert citation["license"] == "Apache-2.0"


def test_parameters_that_security_speaks_of_exist() -> None:
    parameters = set(load("config/ros/tracker.yaml")["/**"]["ros__parameters"])
    named = set(re.findall(r"`(max_objects|detector_queue|checkpoint|overrides)`", (ROOT / "SECURITY.md").read_text()))

    assert named == {"max_objects", "detector_queue", "checkpoint", "overrides"}
    assert named <= parameters
