"""The workflows of .github: they run what there is, on what is declared, and only one job may publish."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import fastws

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
PYPROJECT = (ROOT / "pyproject.toml").read_text()
DECLARED = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)

pytestmark = pytest.mark.skipif(not WORKFLOWS.exists(), reason="the source distribution has no .github")


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((WORKFLOWS / name).read_text())["jobs"]
    return found


def all_jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(WORKFLOWS.glob("*.yml")):
        yield from ((f"{path.stem}.{name}", job) for name, job in jobs(path.name).items())


def test_the_suite_runs_on_each_declared_python() -> None:
    matrix = jobs("tests.yml")["suite"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(10, 16)]
    assert set(DECLARED) <= set(matrix["python"])


def test_wheels_are_built_for_each_of_them() -> None:
    [build] = re.findall(r'(?m)^build = "(.*)"$', PYPROJECT)
    assert [each.removesuffix("-*") for each in build.split()] == [
        f"cp{version.replace('.', '')}" for version in jobs("tests.yml")["suite"]["strategy"]["matrix"]["python"]
    ]


def test_targets_that_they_make_exist() -> None:
    known = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    made = {
        word
        for _, job in all_jobs()
        for step in job.get("steps", ())
        for command in re.findall(r"(?m)^make (.*)$", step.get("run", ""))
        for word in command.split()
        if "=" not in word
    }
    assert {"test-all", "test-loop", "lint", "types", "docs", "fuzz-long"} <= made <= known


def test_only_the_job_that_publishes_has_a_right_and_none_has_a_secret() -> None:
    for path in WORKFLOWS.glob("*.yml"):
        text = path.read_text()
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
        assert "secrets." not in text
    assert {name: job["permissions"] for name, job in all_jobs() if "permissions" in job} == {
        "release.publish": {"id-token": "write"}
    }


def test_each_job_ends_and_leaves_no_credentials_in_the_checkout() -> None:
    for name, job in all_jobs():
        assert job.get("timeout-minutes") or "uses" in job, name
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


@pytest.fixture
def release() -> Any:
    spec = importlib.util.spec_from_file_location("release_of_fastws", ROOT / "tests" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_released_fits_together(release: Any) -> None:
    [source] = re.findall(r'(?m)^Source = "(.*)"$', PYPROJECT)
    tag = f"v{fastws.__version__}"
    assert list(release.problems(tag, source)) == []
    assert "the tag is v0.0.1" in next(release.problems("v0.0.1", source))
    elsewhere = list(release.problems(tag, "https://example.org/someone/fastws"))
    assert len(elsewhere) == 4
    assert all("and this is https://example.org/someone/fastws" in line for line in elsewhere)


def test_a_release_without_a_date_is_none(release: Any, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "fastws/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n")
    [source] = re.findall(r'(?m)^Source = "(.*)"$', PYPROJECT)
    assert list(release.problems(f"v{fastws.__version__}", source, tmp_path)) == [
        f"CHANGELOG.md has no section for {fastws.__version__} with a date"
    ]
