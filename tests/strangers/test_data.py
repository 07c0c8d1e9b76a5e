"""Data, configs, archives, queries, formulas and patterns by strangers: each is refused, or read as what it says."""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio import cloud_script
from studio.config import RunConfig, read_config
from studio.data import collection, library
from studio.data.dataset_info import read_info
from studio.data.draft import Desk
from studio.data.export import export, neutral
from studio.data.files import read
from studio.data.table import Table
from studio.errors import ConfigError, DatasetError, RewardError, StudioError
from studio.evaluation.tasks import find_tasks
from studio.follower import Follower
from studio.ledger import describe, tags_of
from studio.models.catalog import check_name
from studio.prompt import Prompt
from studio.rewards import Answered, Tools
from studio.rewards.expression import Expression
from studio.rewards.pattern import Pattern
from studio.within import WITHIN
from studio.workspace import RunFolder, Workspace, slug
from tabs._data import make

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


# -- YAML and JSON -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        f"{BOMB}\ndataset: *j",
        "a: &a\n  <<: [*a, *a]",
        "a: &a [*a]",
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 100_000,
        "a: " + "x" * 2_000_000,
        "!!python/object/apply:os.system ['touch hit']",
        "model: !!python/object/new:subprocess.Popen [['touch', 'hit']]",
        "model: !!python/name:os.system",
        "model: !include /etc/passwd",
        "? [a, b]\n: c",
        "a: 2020-99-99",
        "model: tiny\n" * 2 + "\0",
        "%YAML 9.9\n---\n- \ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    ],
)
def test_a_config_is_plain_and_has_an_end(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_config(path)
    assert not Path("hit").exists()


@pytest.mark.parametrize(
    "text",
    [
        f"task: mine\n{BOMB}",
        "task: mine\ndoc_to_text: !function evil.run",
        "task: mine\nprocess_docs: !!python/name:os.system",
        "task: mine\ninclude: /etc/passwd",
        "task: mine\ninclude: ../../x.yaml",
        "task: mine\ndataset_path: someone/evil\ndataset_kwargs: {trust_remote_code: true}",
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: /etc/passwd}",
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: 'http://127.0.0.1/x'}",
        "task: mine\nmetric_list: [{metric: someone/evil, hf_evaluate: true}]",
        "task: mine\nunsafe_code: true",
        "task: mine\n" + "a: [" * 5_000,
    ],
)
def test_a_file_of_tasks_runs_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        find_tasks(["mine"], tmp_path)


@pytest.mark.parametrize(
    "text", ['{"a":' * 100_000 + "1" + "}" * 100_000, "[" * 100_000, '{"a": ' + "9" * 100_000 + "}"]
)
def test_json_has_a_depth_and_numbers_a_length(text: str, tmp_path: Path) -> None:
    path = tmp_path / "dataset_info.json"
    path.write_text(text, encoding="utf-8")
    for reader in (read_info, read):
        with pytest.raises(DatasetError):
            reader(path)


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1e999", "9" * 5_000, "1" + "0" * 400, "-1", "[1]"])
def test_settings_are_numbers_of_a_size(number: str, tmp_path: Path) -> None:
    """Each of these, in whichever place a number stands."""
    path = tmp_path / "run.yaml"
    for group, name in (("training", "learning_rate"), ("training", "max_grad_norm"), ("dataset", "validation_share")):
        path.write_text(f"{group}: {{{name}: {number}}}", encoding="utf-8")
        with pytest.raises(ConfigError):
            read_config(path)
    path.write_text(f"seed: {number}", encoding="utf-8")
    with pytest.raises(ConfigError):
        read_config(path)


def test_no_setting_takes_what_is_no_number() -> None:
    assert RunConfig.model_config.get("allow_inf_nan") is False


# -- archives ------------------------------------------------------------------------------------------------


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    zeros = gzip.compress(b'{"a": "' + b"0" * 60_000_000, 9)
    path.write_bytes(zeros * 12)
    with pytest.raises(DatasetError, match="unpacks to more"):
        read(path)


def test_an_archive_in_an_archive_is_no_data(tmp_path: Path) -> None:
    for name, data in (("a.jsonl", b"PK\3\4" + b"\0" * 99), ("a.jsonl.gz", gzip.compress(gzip.compress(b"{}")))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DatasetError):
            read(tmp_path / name)


def test_a_parquet_bomb_is_not_unpacked(workspace: Workspace, tmp_path: Path) -> None:
    """Of equal cells a file keeps but one, and declares no more than that."""
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "bomb.parquet"
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 4_000), pyarrow.array(["x" * 1_000_000]))
    pyarrow.parquet.write_table(pyarrow.table({"a": column}), path, compression="zstd")
    assert path.stat().st_size < 200_000
    for reader in (read, lambda path: collection.add(workspace, path, path.name)):
        with pytest.raises(DatasetError, match="beyond what is read"):
            reader(path)


@pytest.mark.parametrize("name", ["../../slip", "/tmp/slip", "adapter/../../slip", "adapter/link/slip"])
def test_what_a_job_kept_is_unpacked_in_its_place(name: str, workspace: Workspace, tmp_path: Path) -> None:
    folder = _run(workspace)
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as tar:
        _link(tar, "adapter/link", str(tmp_path))
        _file(tar, name, b"slipped")
    with pytest.raises((StudioError, tarfile.TarError, OSError)):
        _follower(folder, workspace, kept.getvalue())._fetch("bucket")
    assert not [each for each in tmp_path.rglob("slip*") if each.name.startswith("slip")]
    assert not Path("/tmp/slip").exists()


def test_what_a_job_kept_replaces_nothing_else_of_the_run(workspace: Workspace) -> None:
    folder = _run(workspace)
    before = folder.config.read_bytes()
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as tar:
        for name in ("config.json", "events.jsonl", "cloud.json", "worker.lock", "stop", "adapter/adapter_config.json"):
            _file(tar, name, b"{}")
    _follower(folder, workspace, kept.getvalue())._fetch("bucket")
    assert folder.config.read_bytes() == before
    assert sorted(each.name for each in folder.path.iterdir()) == ["adapter", "config.json"]
    assert set(cloud_script.WORTH) >= {"adapter"}


def _run(workspace: Workspace) -> RunFolder:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    return folder


def _follower(folder: RunFolder, workspace: Workspace, kept: bytes) -> Follower:
    def download(_: str, files: list[tuple[str, Path]]) -> None:
        files[0][1].write_bytes(kept)

    follower = Follower.__new__(Follower)
    follower.folder, follower.workspace = folder, workspace
    follower.hub = SimpleNamespace(download_bucket_files=download)
    follower.asked = SimpleNamespace(place="place")  # pyright: ignore[reportAttributeAccessIssue]
    follower._kept, follower._fetched = "kept-1.tar", ""
    return follower


def _file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _link(tar: tarfile.TarFile, name: str, to: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    tar.addfile(info)


@pytest.mark.parametrize("path", ["../../slip.py", "/tmp/slip.py", "a/../../../slip.py", "a\0b.py"])
def test_a_folder_of_code_stays_in_its_place(path: str, workspace: Workspace) -> None:
    page: Any = SimpleNamespace(workspace=workspace, desk=Desk())
    event: Any = SimpleNamespace(_data={"files": [[path, "eA=="]]})
    with pytest.raises((DatasetError, ValueError)):
        make._folder(page, event, SimpleNamespace(username="ann"))  # pyright: ignore[reportArgumentType]
    assert not Path("/tmp/slip.py").exists()


# -- names and paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["CON", "NUL", "..", ".", "", ".hidden", "a/b", "a\\b", "a" * 300, "a\0b", "../x", "~"]
)
def test_no_name_leads_to_anothers_data(name: str, workspace: Workspace) -> None:
    assert collection.find(workspace, name) is None
    assert "/" not in slug(name)
    assert 0 < len(slug(name)) <= 40
    for made in (workspace.new_run(name).path, workspace.device_lock(name)):
        assert made.parent in (workspace.runs, workspace.root)
    with pytest.raises(StudioError):
        workspace.run(name)


def test_where_others_come_files_are_named_within_the_workspace_alone(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, inside = tmp_path / "outside.csv", workspace.root / "inside.csv"
    for each in (outside, inside):
        each.write_text("prompt,completion\na,b\nc,d\n", encoding="utf-8")
    link = workspace.root / "link.csv"
    link.symlink_to(outside)
    assert library.look(str(outside), workspace).kind == "file"
    monkeypatch.setenv(WITHIN, str(workspace.root))
    assert library.look(str(inside), workspace).kind == "file"
    for path in (outside, link, f"{workspace.root}/../outside.csv", f"{workspace.root}/./../outside.csv"):
        with pytest.raises(DatasetError, match="no data set or file"):
            library.look(str(path), workspace)
    with pytest.raises(StudioError, match="no model by its path"):
        check_name(str(tmp_path))


def test_what_is_said_of_a_run_has_a_length(workspace: Workspace) -> None:
    for text in ("x" * 300, ",".join(map(str, range(99)))):
        with pytest.raises(StudioError):
            tags_of(text)
    with pytest.raises(StudioError):
        describe(_run(workspace), note="x" * 10_000)


# -- queries, formulas and patterns --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    workspace = Workspace(tmp_path_factory.mktemp("sql")).create()
    name = collection.add_rows(workspace, "mine", [{"a": "x"}] * 9, mapping=None, by="ann")
    kept = collection.find(workspace, name)
    assert kept is not None
    return Table(kept.path(""))


@pytest.mark.parametrize(
    "query",
    [
        *("SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM read_text('/etc/passwd')", "FROM '/etc/passwd'"),
        *("SELECT * FROM glob('/*')", "SELECT * FROM read_blob('/etc/shadow')", "SELECT getenv('HOME')"),
        *("COPY data TO '/tmp/stolen.csv'", "COPY data FROM '/etc/passwd'", "EXPORT DATABASE '/tmp/x'"),
        *(
            "ATTACH '/tmp/x.db'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "PRAGMA database_list",
            "SET enable_external_access=true",
        ),
        *("SELECT * FROM read_parquet('http://127.0.0.1:9/x')", "SELECT 1; DROP TABLE data", "CALL pragma_version()"),
        *(
            "DELETE FROM data",
            "SELECT * FROM data; COPY data TO '/tmp/x'",
            "CREATE TABLE x AS SELECT * FROM '/etc/passwd'",
        ),
        *(
            "SELECT * FROM sniff_csv('/etc/passwd')",
            "RESET lock_configuration",
            "WITH x AS (DELETE FROM data) SELECT 1",
        ),
        *("SELECT * FROM query('COPY data TO ''/tmp/x''')", "SELECT * FROM parquet_metadata('/tmp/x.parquet')"),
        *("SELECT * FROM json_execute_serialized_sql('x')", "EXPLAIN ANALYZE COPY data TO '/tmp/x'", "\0", ";", "'"),
    ],
)
def test_a_query_sees_the_rows_alone(query: str, table: Table) -> None:
    with pytest.raises(DatasetError):
        table.sql(query)
    assert not list(Path("/tmp").glob("stolen*"))
    assert table.sql("SELECT count(*) FROM data").rows == [(9,)]


def test_a_pattern_in_a_query_takes_no_time(table: Table) -> None:
    """duckdb's patterns are RE2's, which never tries all ways: this would take one that does for ever."""
    assert table.sql(f"SELECT regexp_matches('{'a' * 5000}!', '^(a+)+$') FROM data").rows == [(False,)] * 9


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){30}", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_pattern_that_tries_all_ways_is_given_up(
    pattern: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.rewards.pattern._SECONDS", 0.2)
    score = Pattern(pattern=pattern, whole=True).scorer(Tools(workspace))
    try:
        assert score([Answered("", "a" * 5_000 + "!")]) == [0.0]
    except RewardError as error:
        assert "took over" in error.problem  # noqa: PT017 - where the engine finds a way, it may


@pytest.mark.parametrize(
    "formula",
    [
        *(
            "__import__('os').system('touch hit')",
            "().__class__",
            "words.__class__",
            "exec('x')",
            "open('/etc/passwd')",
        ),
        *("[x for x in range(9)]", "lambda: 1", "(x := 1)", "f'{words}'", "words if True else os", "globals()"),
        *(
            "9 ** 9 ** 9 ** 9 ** 9",
            "'a' * 10**10",
            "min(*[1, 2])",
            "min(1, key=2)",
            "words[0]",
            "1e999",
            "\0",
            "(" * 500,
        ),
        *("1" * 5_000, "await x", "yield 1", "words; 1", "1\n2", "abs.__self__", "max.__call__(1, 2)", "1j", "nan"),
    ],
)
def test_a_formula_is_arithmetic(formula: str) -> None:
    with pytest.raises(ConfigError):
        Expression.parse({"expression": formula}).check(None)  # pyright: ignore[reportArgumentType]
    assert not Path("hit").exists()


@pytest.mark.parametrize(
    "template", ["{row.__class__}", "{0}", "{row!r:>999999999}", "{{7*7}}", "{a.b}", "%(row)s", "${row}"]
)
def test_a_prompt_is_filled_in_not_formatted(template: str) -> None:
    prompt = Prompt.parse({"template": f"{template} {{row}}"})
    (message,) = [each for each in prompt.messages({"row": "{row.__class__} {{x}}"})[-1:]]
    assert "class '" not in message["content"]
    assert "{row.__class__} {{x}}" in message["content"]
    assert len(message["content"]) < 500


# -- what is taken away --------------------------------------------------------------------------------------


def test_a_spreadsheet_runs_no_cell(workspace: Workspace, tmp_path: Path) -> None:
    formulas = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", '=HYPERLINK("http://evil.example")']
    name = collection.add_rows(workspace, "=x", [{"=a": each, "b": -1} for each in formulas], mapping=None, by="ann")
    kept = collection.find(workspace, name)
    assert kept is not None
    assert export(Table(kept.path("")), tmp_path / "x.csv") == len(formulas)
    with (tmp_path / "x.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0][0].startswith("'=")
    assert all(line[0].startswith("'") for line in lines[1:])
    assert [line[1] for line in lines[1:]] == ["-1"] * len(formulas)  # a number stays one
    assert neutral("a=b") == "a=b"
