"""What our own code may not do, read from the tree: nothing else would notice until it is used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = [*sorted(path for folder in ("studio", "tabs") for path in (ROOT / folder).rglob("*.py")), ROOT / "app.py"]
# Where what is forbidden elsewhere is what the file is for, with the reason.
MAY = {
    ("studio/sandboxed.py", "exec"): "programs of models, within the sandbox",
    ("studio/sandboxed.py", "compile"): "the same",
    ("studio/programs.py", "compile"): "whether an answer is a program at all; nothing of it is run",
    ("studio/sandboxed.py", "__import__"): "what such a program may use, there",
}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle", "telnetlib", "commands", "pty"}
METHODS = {
    *(
        "os.system",
        "os.popen",
        "os.execl",
        "os.execlp",
        "os.spawnl",
        "torch.load",
        "numpy.load",
        "np.load",
        "pd.read_pickle",
    ),
    *("pandas.read_pickle", "yaml.unsafe_load", "yaml.full_load", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("shutil.unpack_archive", "tempfile.mktemp", "torch.jit.load", "torch.hub.load"),
}


@cache
def trees() -> list[tuple[str, ast.AST]]:
    """Each file of ours, as Python reads it."""
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in FILES]


def dotted(node: ast.AST) -> str:
    """A name with what it belongs to, such as 'os.path.join', or a constant."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else repr(node.value) if isinstance(node, ast.Constant) else "?"


def faults(name: str, tree: ast.AST) -> Iterator[str]:
    """What is forbidden in a file, with its line."""
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{where} imports {each}" for each in named if each.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        if called in CALLS and (name, called) not in MAY:
            yield f"{where} calls {called}"
        if called in METHODS or (called == "yaml.load" and "Loader" not in ast.unparse(node)):
            yield f"{where} calls {called}"
        if called.endswith(".extractall") and "filter='data'" not in ast.unparse(node):
            yield f"{where} unpacks without a filter"
        for keyword in node.keywords:
            value = dotted(keyword.value)
            if keyword.arg in ("shell", "trust_remote_code", "allow_pickle", "follow_redirects") and value != "False":
                yield f"{where} says {keyword.arg}={value}"
            if keyword.arg in ("weights_only", "verify", "use_safetensors", "safe_serialization") and value == "False":
                yield f"{where} says {keyword.arg}={value}"


def test_our_code_runs_nothing_that_it_is_given() -> None:
    assert [fault for name, tree in trees() for fault in faults(name, tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        *("import pickle", "from pickle import loads", "eval('1')", "exec(x)", "torch.load(x)", "os.system(x)"),
        *("subprocess.run(x, shell=True)", "f(trust_remote_code=True)", "f(trust_remote_code=x)", "yaml.load(x)"),
        *("tar.extractall(x)", "f(weights_only=False)", "httpx.get(x, follow_redirects=True)", "f(verify=False)"),
    ],
)
def test_each_of_these_would_be_found(code: str) -> None:
    assert list(faults("studio/x.py", ast.parse(code)))


def test_what_is_allowed_is_still_needed() -> None:
    for (name, called), why in MAY.items():
        assert why
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        assert any(isinstance(node, ast.Call) and dotted(node.func) == called for node in ast.walk(tree))


def test_programs_are_started_as_lists_of_words() -> None:
    """A text would be cut into words, or given to a shell, and a name of a model could be some of them."""
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and dotted(node.func).startswith("subprocess."):
                if dotted(node.func).rpartition(".")[2] not in (
                    "Popen",
                    "run",
                    "call",
                    "check_call",
                    "check_output",
                ):
                    continue
                first = node.args[0]
                assert isinstance(first, ast.List | ast.Name | ast.Starred), f"{name}:{node.lineno}"


def test_what_messages_quote_is_escaped() -> None:
    """Gradio renders them as HTML."""
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and dotted(node.func) in ("gr.Info", "gr.Warning"):
                assert _safe(node.args[0]), f"{name}:{node.lineno}"


# What stands in a message as it is: numbers, keys of ours, words of ours.
OURS = ("unsaved", "MOST_RUNS", "len(ids)", "where", "change.what", "version.key", "version.rows", "count", "STEPS")


def _safe(node: ast.AST) -> bool:
    if ast.unparse(node) in OURS:
        return True
    if isinstance(node, ast.JoinedStr):
        return all(
            not isinstance(each, ast.FormattedValue) or _number(each) or _safe(each.value) for each in node.values
        )
    if isinstance(node, ast.BinOp):
        return _safe(node.left) and _safe(node.right)
    if isinstance(node, ast.Call):
        return dotted(node.func) in ("escaped", "refusal")
    return isinstance(node, ast.Constant)


def _number(node: ast.FormattedValue) -> bool:
    """Whether what is put there is formatted as one; a text would fail of it."""
    return node.format_spec is not None and ast.unparse(node.format_spec).strip("f'\"")[-1:] in (
        ",",
        "g",
        "d",
        "%",
        "e",
    )


def test_nothing_is_asked_of_the_net_but_where_it_says_so() -> None:
    """Files that may open a connection to another machine."""
    known = {
        *("studio/endpoint.py", "studio/models/hub.py", "studio/data/hub.py", "studio/cloud.py", "studio/follower.py"),
        "studio/models/wheel.py",
    }
    asks = {"httpx", "requests", "urllib.request", "aiohttp", "http.client", "ftplib", "smtplib", "websockets"}
    found = {name for name, tree in trees() if asks & _imports(tree)}
    assert found <= known | {"tabs/_rooms.py", "tabs/_hub_login.py"}


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_the_docs_name_tests_that_there_are() -> None:
    named = set(re.findall(r"`(test_[a-z_]+)`", (ROOT / "docs/security.md").read_text(encoding="utf-8")))
    here = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.parent.name in ("strangers", "ui")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(named) >= 50
    assert named <= here


def test_the_tree_is_there() -> None:
    assert len(FILES) > 200
    assert Path(ROOT / "studio").is_dir()
