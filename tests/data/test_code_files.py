import os

import pytest

from studio.data.files import open_rows, read
from studio.errors import DatasetError


@pytest.fixture
def project(tmp_path):
    """A small project, with what tools leave in one, and a neighbour that is none of its business."""
    root = tmp_path / "project"
    for name, content in {
        "main.py": "print('é')\n",
        "src/b.rs": "fn main() {}\r\n",
        "src/a/x.TS": "let x = 1\n",
        "src.go": "package main\n",
        "notes.md": "not code",
        "empty.py": "",
        ".git/hook.py": "hidden",
        ".hidden.py/x.py": "hidden",
        "node_modules/left/pad.js": "fetched",
        "src/__pycache__/c.py": "made",
        "dist/bundle.js": "made",
        "venv/lib/y.py": "fetched",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    (tmp_path / "secret.py").write_text("password = 1")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "secret.py").write_text("password = 2")
    return root


def test_source_files_in_the_order_of_their_paths(project):
    dataset = read(project)
    assert dataset.rows == [
        {"path": "main.py", "language": "Python", "text": "print('é')\n"},
        {"path": "src.go", "language": "Go", "text": "package main\n"},
        {"path": "src/a/x.TS", "language": "TypeScript", "text": "let x = 1\n"},
        {"path": "src/b.rs", "language": "Rust", "text": "fn main() {}\r\n"},
    ]
    assert dataset.columns == ("path", "language", "text")
    assert dataset.name == "project"
    assert dataset.set_aside == []


def test_links_are_not_followed(project):
    before = list(open_rows(project))
    (project / "file.py").symlink_to("../secret.py")
    (project / "folder").symlink_to("../others")
    (project / "src" / "loop").symlink_to("..")
    (project / "broken.py").symlink_to("nowhere.py")
    if hasattr(os, "mkfifo"):
        os.mkfifo(project / "pipe.py")
    reading = open_rows(project)
    assert list(reading) == before
    assert reading.set_aside == []


def test_large_and_binary_files_are_set_aside(project):
    (project / "a.c").write_bytes(bytes(range(256)))
    (project / "b.c").write_text("x" * 1_000_001)
    (project / "c.c").write_bytes("// größe\n".encode("latin-1"))
    reading = open_rows(project)
    rows = list(reading)
    assert [row["path"] for row in rows] == ["c.c", "main.py", "src.go", "src/a/x.TS", "src/b.rs"]
    assert rows[0]["text"] == "// größe\n"
    assert [one.line for one in reading.set_aside] == [1, 2]
    assert "a.c is not text" in reading.set_aside[0].reason
    assert reading.set_aside[1].reason == "b.c, a file of more than 1 MB"
    assert reading.notes == [
        "c.c: 1 line is not UTF-8 and was read as Windows-1252: check that letters with accents look right."
    ]
    assert reading.share == 1


def test_a_folder_without_source_is_said_in_a_sentence(tmp_path):
    (tmp_path / "a.md").write_text("not code")
    with pytest.raises(DatasetError, match="holds no source code"):
        read(tmp_path)
    (tmp_path / "a.py").write_text("\n")
    with pytest.raises(DatasetError, match="has no rows"):
        read(tmp_path)
