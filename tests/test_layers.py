"""The order of imports that keeps the architecture visible, and the page quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("studio/**/*.py"), *ROOT.glob("tabs/**/*.py")])


def imported(path: Path) -> set[str]:
    """Full names of all modules a file imports, inside functions as well."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.is_relative_to(ROOT / "studio")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_engine_knows_no_page(path: Path) -> None:
    top = {name.split(".")[0] for name in imported(path)}
    assert not top & {"tabs", "gradio", "fastapi", "uvicorn"}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.is_relative_to(ROOT / "tabs")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_tab_imports_another(path: Path) -> None:
    others = {name for name in imported(path) if name.startswith("tabs.") and not name.split(".")[1].startswith("_")}
    assert others <= ({"tabs.app"} if path.name in ("_main.py", "_host.py") else set())


def test_the_page_imports_no_torch() -> None:
    """Building the whole page, tabs and catalogs included, leaves the heavy libraries to the workers."""
    code = (
        "import sys, pathlib, tempfile\n"
        "from tabs.app import make_app\n"
        "from studio.workspace import Workspace\n"
        "make_app(Workspace(pathlib.Path(tempfile.mkdtemp())).create())\n"
        "heavy = {'torch', 'transformers', 'peft', 'accelerate', 'bitsandbytes'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
