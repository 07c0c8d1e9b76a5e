"""The text of a model card. Every sentence derives from what is on disk; what is not known is said as such."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import yaml

from studio.catalog import key_of
from studio.data import collection
from studio.data.dataset import canonical
from studio.data.formats import FORMATS
from studio.data.language import language
from studio.data.library import Opened, open_source, samples
from studio.data.parquet import rows_of
from studio.errors import StudioError
from studio.events import Imported
from studio.exports import Source
from studio.exports._markdown import fenced, inline, table
from studio.exports._names import base, base_name, paths, run_title
from studio.exports._scores import evaluations, scores
from studio.made import told as told_of
from studio.models.catalog import SUGGESTIONS
from studio.store import Store

_LICENCES = {"Apache-2.0": "apache-2.0", "Llama 3.2 Community": "llama3.2", "Gemma": "gemma"}  # as the Hub calls them
_FROM_HUB = re.compile(r", from ([A-Za-z0-9][\w.-]*/[\w.-]+)$")  # in who brought a version
Weights = Literal["adapter", "merged", "gguf"]
_RELATIONS: dict[Weights, str] = {"adapter": "adapter", "merged": "finetune", "gguf": "quantized"}  # to the base
_LOOKED_AT = 300  # rows, for the language
_MOST_COUNTED = 200_000  # rows among which copies are counted
_FEW = 30  # held-out rows, with which only large differences can be told from chance
_SMALL = 3e9  # parameters
_RISEN = 1.05  # times the lowest loss on held-out rows


@dataclass(frozen=True)
class Data:
    """What can be said of the rows by reading them; nothing where they are gone."""

    title: str
    format: str
    licence: str
    hub: str  # where it came from, a name on the Hub
    languages: dict[str, float]  # code → share of the texts whose language can be told
    copies: int | None  # rows that are equal to an earlier one; None: not counted
    same: bool | None  # whether they are what the run read; None: not known


def page(source: Source, curves: str, weights: Weights) -> str:
    """All of it, as Markdown; `curves` is the picture's file name, `weights` are what lies beside it."""
    data = _data(source)
    stretches = [
        _front_matter(source, data, weights),
        f"# {inline(run_title(source))}\n",
        _what(source),
        _use(source, weights),
        scores(source),
        f"## Curves\n\n![Loss by step]({curves})\n" if curves else "",
        _origin(source.state.imported) if source.state.imported else _about_data(source, data),
        "" if source.state.imported else _training(source),
        _limits(source, data),
    ]
    text = "\n".join(filter(None, stretches))
    for path, name in paths(source).items():  # in what others have told of the run
        text = text.replace(inline(path), inline(name)).replace(path, name)
    return text


# -- what it is ----------------------------------------------------------------------------------------


def licence(source: Source) -> str:
    """The base's, as far as it is known."""
    return next((each.licence for each in SUGGESTIONS if each.model == source.config.model), "")


def _front_matter(source: Source, data: Data | None, weights: Weights) -> str:
    config, name = source.config, base_name(source)
    values: dict[str, Any] = {"base_model": name} if name else {}
    if name:
        values["base_model_relation"] = _RELATIONS[weights]
    if weights != "adapter" or _is_peft(source):
        values["library_name"] = {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}[weights]
    if (found := licence(source)) in _LICENCES:
        values["license"] = _LICENCES[found]
    if source.state.talks:
        values["pipeline_tag"] = "text-generation"
    if data and data.languages:
        values["language"] = [code for code, share in data.languages.items() if share >= 0.05]
    if data and data.hub:
        values["datasets"] = [data.hub]
    values["tags"] = ["finetune-studio", config.method_name, key_of(config.objective)]
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _is_peft(source: Source) -> bool:
    with suppress(OSError):
        return '"peft_type"' in (source.folder.adapter / "adapter_config.json").read_text(encoding="utf-8")
    return False


def _what(source: Source) -> str:
    config, model = source.config, source.state.model
    said = [
        f"Made from {inline(base(source))} by {inline(config.method.title)}: {config.method.about} "
        f"Objective: {inline(config.objective.title)}. {config.objective.about}"
    ]
    if model:
        share = model.trainable_parameters / max(model.parameters, 1)
        said.append(
            f"The base has {model.parameters:,} parameters; {model.trainable_parameters:,} were learnt ({share:.2%} as "
            "many)."
        )
    known = licence(source)
    said.append(
        f"Licence of the base: {inline(known)}. What was made from it is bound by that."
        if known
        else "The licence of the base is not known to the studio: look it up, for what was made from it is bound by it."
    )
    return "\n\n".join(said) + "\n"


def _use(source: Source, weights: Weights) -> str:
    loaded = weights != "adapter" or _is_peft(source)
    if not (source.state.talks and loaded):
        return (
            "## How to use\n\nIt is loaded by Finetune Studio: this kind of model is none that other programs load.\n"
        )
    if weights == "gguf":
        code = "llama-cli -m FILE.gguf -p 'Your question'  # of llama.cpp; any program that reads GGUF files does"
        return f"## How to use\n\n{fenced(code, 'sh')}"
    chat = source.config.dataset.format != "text"
    asked = (
        'inputs = tokenizer.apply_chat_template([{"role": "user", "content": "Your question"}], '
        'add_generation_prompt=True, return_dict=True, return_tensors="pt")'
        if chat
        else 'inputs = tokenizer("A beginning", return_tensors="pt")'
    )
    alone = "AutoModelForCausalLM.from_pretrained({})"
    beside = f"PeftModel.from_pretrained({alone.format(repr(base(source)))}, folder)"
    code = f"""\
{"from peft import PeftModel" if weights == "adapter" else ""}
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this one
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {beside if weights == "adapter" else alone.format("folder")}
{asked}
answer = model.generate(**inputs, max_new_tokens={source.config.training.max_new_tokens})
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))"""
    return f"## How to use\n\n{fenced(code.lstrip(), 'python')}"


# -- what it was made of -------------------------------------------------------------------------------


def _data(source: Source) -> Data | None:
    chosen, made = source.config.dataset, source.state.made
    try:
        opened = open_source(chosen.source, source.workspace, chosen.mapping(), chosen.version)
    except StudioError:
        return None
    small = opened.train.total <= _MOST_COUNTED
    rows = opened.train.load() if small else None
    sample = samples().get(chosen.source)
    return Data(
        title=opened.title,
        format=FORMATS[opened.mapping.format].label,
        licence=sample.licence if sample else "",
        hub=_from_hub(source, opened),
        languages=_languages(opened),
        copies=len(rows.rows) - len(set(map(canonical, rows.rows))) if rows else None,
        same=rows.fingerprint == made.rows if rows and made else None,
    )


def _languages(opened: Opened) -> dict[str, float]:
    texts = (
        " ".join(cell for column in opened.mapping.columns.values() if isinstance(cell := row.get(column), str))
        for row in islice(rows_of(opened.train.path), _LOOKED_AT)
    )
    found = Counter(code for text in texts if (code := language(text)))
    return {code: count / found.total() for code, count in found.most_common(3)}


def _from_hub(source: Source, opened: Opened) -> str:
    """The name on the Hub under which the rows were fetched, where their first version says so."""
    kept = collection.find(source.workspace, source.config.dataset.source)
    found = [_FROM_HUB.search(each.by) for each in collection.versions(kept)] if kept and opened.version else []
    return next((match[1] for match in found if match), "")


def _about_data(source: Source, data: Data | None) -> str:
    config, state = source.config, source.state
    rows = []
    if data:
        rows += [["Name", inline(data.title)], ["Read as", inline(data.format)]]
        if data.hub:
            rows.append(["From", inline(data.hub)])
        rows.append(["Licence", inline(data.licence) if data.licence else "not known to the studio"])
    if config.dataset.version:
        rows.append(["Version", inline(config.dataset.version)])
    columns = ", ".join(f"{role}: {column}" for role, column in config.dataset.columns.items())
    rows.append(["Columns", inline(columns) or "–"])
    if told := state.data:
        rows += [
            ["Rows trained on", f"{told.train_rows:,}"],
            ["Rows held out and scored", f"{told.validation_rows:,}"],
            ["Cut off at the cut-off length", f"{told.truncated_rows:,}"],
            ["Left out, nothing to learn", f"{told.skipped_rows:,}"],
            ["Tokens, learnt ones among them", f"{told.tokens:,}, {told.trained_tokens:,}"],
            ["SHA-256 of the rows trained on", f"`{told.fingerprint[:64]}`" if told.fingerprint.isalnum() else "–"],
        ]
    if data and data.copies is not None:
        rows.append(["Rows equal to an earlier one", f"{data.copies:,}"])
    gone = "" if data else "The data set is not on that machine any more.\n\n"
    other = "The data set has changed since: this describes it as it is now.\n\n" if data and data.same is False else ""
    return f"## Data\n\n{gone}{other}{table(['', ''], rows)}"


def _origin(imported: Imported) -> str:
    """Where an imported adapter is from, as far as that is known."""
    base = f" Its own config calls its base {inline(imported.base_named)}." if imported.base_named else ""
    told = "".join(f"- {inline(each)}\n" for each in (*imported.checked, *imported.notes))
    return (
        f"## Data and training\n\nIt was not trained in Finetune Studio but imported, as {inline(imported.name)}: "
        f"of its data and its training nothing is known here.{base}\n\n{told}"
    )


def _training(source: Source) -> str:
    state = source.state
    rows = [["Steps", f"{state.step:,} of {state.total_steps:,}"], ["Tokens seen", f"{state.tokens:,}"]]
    rows.append(["Time of training", f"{state.seconds:,.0f} s"])
    if state.saved:
        rows.append(["Saved after step", f"{state.saved.step:,}"])
        if state.saved.peak_memory:
            rows.append(["Memory at most", f"{state.saved.peak_memory:.2f} GB"])
    if model := state.model:
        rows += [["Device", inline(model.device)], ["Number format of the base", inline(model.dtype)]]
    rows.append(["Seed", str(source.config.seed)])
    if state.made:
        rows += [[inline(name), inline(value)] for name, value in told_of(state.made).items()]
    settings = yaml.safe_dump(_public(source), sort_keys=False, allow_unicode=True)
    notes = "".join(f"- {inline(note)}\n" for note in state.notes)
    return f"## Training\n\n{table(['', ''], rows)}\n{fenced(settings, 'yaml')}" + (f"\n{notes}" if notes else "")


def _public(source: Source) -> dict[str, Any]:
    """The config without what concerns one machine only: paths, and where else it was logged."""
    config = source.config.to_dict(short=True)
    for name in ("trackers", "comparison"):
        config.pop(name, None)
    for group in (config.get("dataset", {}), config.get("old", {})):
        if "source" in group:
            group["source"] = Path(group["source"]).name
    return {**config, "model": base(source)}


# -- what is not known of it ---------------------------------------------------------------------------


def _limits(source: Source, data: Data | None) -> str:
    return "## Limits\n\n" + "".join(f"- {text}\n" for text in limits(source, data))


def limits(source: Source, data: Data | None) -> Iterator[str]:
    """Sentences, each from a fact of the run."""
    config, state = source.config, source.state
    if config.model == "tiny":
        yield "The base is random: it knows no language. This model is a trial, and of no other use."
    elif state.model and state.model.parameters < _SMALL and state.writes:
        size = f"{state.model.parameters / 1e6:,.0f} million"
        yield f"With {size} parameters it knows few facts, and states wrong ones fluently."
    if told := state.data:
        yield f"It learnt from {told.train_rows:,} rows of one data set; of what these do not hold it learnt nothing."
        held_out = told.validation_rows
        if not held_out:
            yield "No rows were held out: how it does on new ones was not measured."
        elif held_out < _FEW:
            yield f"Only {held_out:,} held-out rows were scored: large differences alone can be told from chance."
        if told.truncated_rows:
            yield f"{told.truncated_rows:,} rows were cut off: of long texts it saw the beginning only."
    if state.step < state.total_steps:
        yield f"Training ended after {state.step:,} of {state.total_steps:,} planned steps."
    lowest = _lowest(source)
    if lowest and state.last_eval and state.last_eval.get("eval_loss", 0) > _RISEN * lowest:
        yield "Its loss on held-out rows rose again before the end: it began to learn its rows by heart."
    if data and data.languages:
        yield f"Its data is mostly in '{inline(next(iter(data.languages)))}'; other languages were not looked at."
    if bits := getattr(config.method, "bits", ""):
        yield f"It learnt beside a base in {bits} bits and made up for its rounding: beside the whole one it differs."
    measured = any(evaluations(source))
    if state.imported and not measured:
        yield "How it compares with its base was not measured."
    elif not measured:
        yield "It was compared with its base on its own held-out rows at most; not on other tasks or other data."
    yield "It was not examined for safety, bias, or for what it remembers word by word of its data."


def _lowest(source: Source) -> float | None:
    points = Store(source.workspace).points(source.state.id)
    return min((point.metrics["eval_loss"] for point in points if "eval_loss" in point.metrics), default=None)
