"""Tasks of lm-eval by name, and how those in a person's own files are read without running anything of them.

lm-eval's reader of such files calls what `!function` names, follows `include` to anywhere, and hands on what it finds
to libraries that may fetch and run code. So it never sees one: it gets the plain values that are read and checked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import yaml

from studio.errors import ConfigError
from studio.yaml_text import nodes_of

ABSENT = "lm-eval is not installed on this machine."
INSTALL = "Install it with: pip install 'finetune-studio[lm-eval]'."

_DATA = ("json", "csv", "parquet", "text")  # what `datasets` reads from files without code of theirs
_METRICS = (
    *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "acc_all", "exact_match", "f1", "mcc", "brier_score"),
    *("likelihood", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "bleu", "chrf", "chrf++"),
    "ter",
)  # lm-eval's own; any other name is looked for on the Hub, and what is found there is run
_WORDING = ("doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix", "target_delimiter", "fewshot_delimiter")
_KNOWN = (
    *("task", "task_alias", "tag", "include", "dataset_path", "dataset_name", "dataset_kwargs", "training_split"),
    *("validation_split", "test_split", "fewshot_split", "fewshot_config", "num_fewshot", "description", *_WORDING),
    *("output_type", "generation_kwargs", "repeats", "filter_list", "metric_list", "should_decontaminate"),
    *("doc_to_decontamination_query", "unsafe_code", "metadata"),
)
_WITHIN = {
    "dataset_kwargs": ("data_files", "field", "delimiter", "column_names"),
    # Of `generate`, what chooses tokens: it takes the name of a folder whose code it runs, too.
    "generation_kwargs": (
        *("until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k", "min_p"),
        *("num_beams", "repetition_penalty", "no_repeat_ngram_size", "length_penalty"),
    ),
    "fewshot_config": ("sampler", "split", "fewshot_indices", "samples", *_WORDING),
}
_PLAIN = {f"tag:yaml.org,2002:{each}" for each in ("map", "seq", "str", "int", "float", "bool", "null", "merge")}
_NAME = re.compile(r"^task: *(['\"]?)([^'\"#\n]+)\1", re.MULTILINE)


class _Loader(yaml.SafeLoader):
    """YAML's plain kinds alone: a date stays the text that it is written as, and so does a lone '='."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in each if not tag.endswith((":timestamp", ":value"))]
    for first, each in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class EvalTask:
    """One to be asked."""

    name: str
    config: dict[str, Any] | None = None  # what its file says; None: lm-eval brings it
    data: dict[str, list[int]] = field(default_factory=dict)  # its files → [bytes, when changed in ns]

    def check(self) -> None:
        """Raise ConfigError where its rows are others by now."""
        for path, stamp in self.data.items():
            if not Path(path).is_file() or _stamp(Path(path)) != stamp:
                raise ConfigError(f"{path} has changed since this evaluation began.", remedy="Begin a new evaluation.")


def installed() -> bool:
    """Whether lm-eval is; it is not imported."""
    return find_spec("lm_eval") is not None


def find_tasks(names: Sequence[str], folder: Path) -> list[EvalTask]:
    """These, those in the files of `folder` first. Raises ConfigError for what is not there, or could run code."""
    if len(set(names)) < len(names):
        raise ConfigError("The same task is named twice.", remedy="Name each once.")
    own = _own(folder)
    return [_read_task(name, own[name], folder) if name in own else _shipped(name, folder) for name in names]


def _own(folder: Path) -> dict[str, list[Path]]:
    """Name of a task → the files that define it: in the folder, and in those right within it."""
    found: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*.y*ml"), *folder.glob("*/*.y*ml")]):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        # By its look, as it may be no YAML: who names it is told where.
        if name := _NAME.search(text):
            found.setdefault(name[2].strip(), []).append(path)
    return found


def _shipped(name: str, folder: Path) -> EvalTask:
    """One that lm-eval brings, by the text of its files: to have them all read takes lm-eval many seconds."""
    spec = find_spec("lm_eval")
    places = list(spec.submodule_search_locations or []) if spec else []
    told = re.compile(rf"^(?:(?:task|group|tag) *: *| *- *)['\"]?{re.escape(name)}['\"]? *(?:#.*)?$", re.MULTILINE)
    files = (path for place in places for path in (Path(place) / "tasks").glob("**/*.yaml"))
    # A path is no name: lm-eval would read that file.
    if not re.fullmatch(r"[\w.+:-]+", name) or not any(
        told.search(path.read_text(encoding="utf-8", errors="replace")) for path in files
    ):
        raise ConfigError(
            f"There is no task '{name}', neither in {folder} nor among those of lm-eval.",
            remedy="Name it as 'task' in its file does, or as lm-eval's list does.",
        )
    return EvalTask(name)


# -- a file ------------------------------------------------------------------------------------------------


def _read_task(name: str, paths: Sequence[Path], folder: Path) -> EvalTask:
    if len(paths) > 1:
        raise ConfigError(
            f"The task '{name}' stands in {' and in '.join(map(str, paths))}.", remedy="Name one of them otherwise."
        )
    config = _read(paths[0], folder.resolve(), ())
    if config.get("dataset_path") not in _DATA or not (config.get("dataset_kwargs") or {}).get("data_files"):
        raise ConfigError(
            f"{paths[0]}: the rows of '{name}' are not said to lie in files.",
            remedy=f"Give a dataset_path of {', '.join(_DATA)}, and data_files in dataset_kwargs.",
        )
    files = {path: _stamp(Path(path)) for path in _texts(config["dataset_kwargs"]["data_files"])}
    return EvalTask(name, json.loads(json.dumps(config)), files)


def _read(path: Path, folder: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """What a file says, with what it includes. Raises ConfigError naming the line of what is refused."""
    where = path.resolve()
    if not where.is_relative_to(folder) or where in seen:
        raise ConfigError(
            f"{path} lies outside {folder}." if where not in seen else f"{path} includes itself.",
            remedy="Include only other files of that folder.",
        )
    try:
        text = where.read_text(encoding="utf-8")
        nodes = nodes_of(text, _Loader)
        for each in nodes:
            if each.tag not in _PLAIN:
                _refuse(path, each, f"the tag {_short(each.tag)} is none of plain YAML, and could run code")
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a SafeLoader
    except ConfigError:
        raise
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}, line {line}: {error.problem}.", remedy="Mend the file.") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read ({error}).", remedy="Mend the file.") from None
    if not nodes or not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings of a task.", remedy="Write them as 'name: value', a line each.")
    _check(path, nodes[0], values)
    _place(path, nodes[0], values, folder)
    merged: dict[str, Any] = {}
    included = values.pop("include", None) or []
    for each in [included] if isinstance(included, str) else included:
        merged |= _read(path.parent / str(each), folder, (*seen, where))
    return merged | values


def _check(path: Path, node: yaml.Node, values: dict[str, Any]) -> None:
    """Raise ConfigError for whatever could have lm-eval, or a library behind it, run code."""
    for key in values:
        if key not in _KNOWN:
            _refuse(path, _value(node, key), f"'{key}' is not taken from a task's file", ", ".join(sorted(_KNOWN)))
    for group, known in _WITHIN.items():
        inner = values.get(group) or {}
        if not isinstance(inner, dict):
            _refuse(path, _value(node, group), f"'{group}' is not a group of settings")
        for key in inner:
            if key not in known:
                _refuse(path, _value(node, group, key), f"'{key}' is not taken in {group}", ", ".join(known))
    if values.get("unsafe_code", False) is not False:
        _refuse(path, _value(node, "unsafe_code"), "the task would run programs that models write")
    for each in values.get("metric_list") or []:
        name = each.get("metric") if isinstance(each, dict) else each
        if name not in _METRICS or each.get("hf_evaluate"):
            _refuse(path, _value(node, "metric_list"), f"{name!r} is no metric of lm-eval's own", ", ".join(_METRICS))


def _place(path: Path, node: yaml.Node, values: dict[str, Any], folder: Path) -> None:
    """Say in full where the rows lie: beside the file that names them. Raises ConfigError outside the folder."""
    kwargs = values.get("dataset_kwargs") or {}
    if "data_files" not in kwargs:
        return

    def placed(each: Any) -> Any:
        if isinstance(each, dict):
            return {key: placed(inner) for key, inner in each.items()}
        if isinstance(each, list):
            return [placed(inner) for inner in each]
        found = (path.parent / str(each)).resolve()
        if not found.is_relative_to(folder) or not found.is_file():
            _refuse(path, _value(node, "dataset_kwargs", "data_files"), f"{each} is no file within {folder}")
        return str(found)

    values["dataset_kwargs"] = {**kwargs, "data_files": placed(kwargs["data_files"])}


def _refuse(path: Path, node: yaml.Node | None, problem: str, known: str = "") -> NoReturn:
    line = f", line {node.start_mark.line + 1}" if node else ""  # none: it came by a merge
    remedy = f"Take it out; known here: {known}." if known else "Take it out, or ask another task."
    raise ConfigError(f"{path}{line}: {problem}.", remedy=remedy)


def _value(node: yaml.Node | None, *keys: str) -> yaml.Node | None:
    """What stands there; None where nothing does."""
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name, value in pairs if name.value == key), None)
    return node


def _texts(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files
        return
    for each in files.values() if isinstance(files, dict) else files:
        yield from _texts(each)


def _stamp(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
