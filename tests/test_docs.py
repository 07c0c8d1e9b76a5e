"""What the documents say must be what the project does."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_ci_runs_the_readmes_test_command() -> None:
    command = re.search(r"^python3 -m venv .* && \.venv/bin/pytest -n 2$", read("README.md"), re.MULTILINE)
    assert command
    assert command[0] in read(".ci/run").replace("install -q ", "install ")


@pytest.mark.parametrize("page", ["settings", "datasets", "methods", "rewards", "curves", "prompts", "export"])
def test_a_page_made_from_the_code_is_what_the_code_says(page: str) -> None:
    spec = importlib.util.spec_from_file_location(f"make_{page}", ROOT / "docs" / f"make_{page}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert read(f"docs/{page}.md") == module.text(), f"run: python docs/make_{page}.py"


def test_a_space_installs_what_the_project_needs_in_the_tested_versions() -> None:
    """A Space sees requirements.txt alone, so it cannot refer to the other two files."""
    needed = {
        re.split(r"[<>=;\[ ]", each)[0].lower().replace("_", "-")
        for each in tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]
    }
    pinned = {line.split("==")[0].lower().replace("_", "-"): line for line in read("constraints.txt").splitlines()}
    wanted = {pinned[name] for name in needed}
    assert set(read("requirements.txt").split()) == wanted
    sdk_version = re.search(r"^sdk_version: (\S+)$", read("README.md"), re.MULTILINE)
    assert sdk_version
    assert pinned["gradio"] == f"gradio=={sdk_version[1]}"


def test_links_and_pictures_exist() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    for name in (page.relative_to(ROOT).as_posix() for page in pages):
        for target in re.findall(r"\]\(([^)#:]+)\)", read(name)):
            assert ((ROOT / name).parent / target).exists(), f"{name} points to {target}"
