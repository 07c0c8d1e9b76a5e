"""The repository as a Space sees it: its own files, what requirements.txt names, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT

NAME = "someone-studio.hf.space"
pytestmark = pytest.mark.slow  # what the files say is tested in test_docs.py, app.py's doors in test_cli.py


def copied(place: Path) -> Path:
    """The repository's files at `place`, as a clone would have them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / name)
    return place


@contextmanager
def serving(python: Path, repository: Path, environment: dict[str, str]) -> Iterator[str]:
    """`app.py` as a Space starts it; the address it gives."""
    space = subprocess.Popen([python, "app.py"], cwd=repository, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert space.stdout is not None
        found = re.search(r"http://\S+", space.stdout.readline())
        assert found, "the page is not served"
        yield found[0]
    finally:
        space.terminate()
        space.wait(timeout=20)
        if space.stdout is not None:
            space.stdout.close()


def test_a_clean_environment_from_the_requirements_serves_the_page_and_trains(tmp_path: Path) -> None:
    repository, python = copied(tmp_path / "repository"), tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [python, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "install", "--no-cache-dir", "-r", repository / "requirements.txt"], check=True)
    subprocess.run([*pip, "check"], check=True)

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    workspace = tmp_path / "data"
    environment = kept | {"SPACE_ID": "someone/studio", "SPACE_HOST": NAME, "GRADIO_SERVER_PORT": "0"}
    environment |= {"HOME": str(tmp_path), "FINETUNE_STUDIO_WORKSPACE": str(workspace)}
    with serving(python, repository, environment) as url:
        page = httpx.get(url, headers={"Host": NAME})
        assert page.status_code == 200
        assert "Finetune Studio" in page.text
        assert "Start training" in page.text
        script = re.search(r'<script type="module" crossorigin src="\./(assets/\S+\.js)"', page.text)
        assert script
        assert httpx.get(f"{url}/{script[1]}", headers={"Host": NAME}).status_code == 200
        assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400

    config = tmp_path / "run.yaml"
    config.write_text(
        "model: tiny\ndataset: {source: customer_messages}\ntraining: {max_steps: 2, eval_rows: 2, answer_rows: 0}\n",
        encoding="utf-8",
    )
    command = [python, "-m", "tabs._main", "--workspace", workspace, "train", config]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (Path(done.stdout.splitlines()[-1]) / "adapter" / "adapter_model.safetensors").is_file()
