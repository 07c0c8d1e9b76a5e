"""A run written out as a program of transformers, peft and torch: what a script and a notebook have in common.

The program is made of fixed text and of the run's values, each of which goes through `repr`: whatever a label, a
column or a model is called, it stays a literal. `_texts.py` holds the fixed text.
"""

from __future__ import annotations

import math
import textwrap
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from studio.data.library import open_source
from studio.data.templates import Mapping as Columns
from studio.errors import ConfigError, RunError
from studio.exports import Source, Tell
from studio.exports import _texts as texts
from studio.exports._names import run_title
from studio.exports._rows import as_lines, compared, curve, rendered, rows_of
from studio.made import installed
from studio.models.catalog import BUNDLED, Located, structure_of
from studio.objectives.next_token import NextToken
from studio.settings import facts
from studio.training.schedules import part
from studio.training.settings import TrainingSettings

_NEEDED = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
_OWN = ("peft_type", "peft_version", "inference_mode")  # fields of peft's configs that it fills in by itself
_MODEL = "model"  # the folder beside the program, where the model comes along
_BYTES_A_TOKEN = 20  # of its text, marks of the template and of JSON included
_UNPACKED = 8  # times the rows' own file, in which they are compressed: texts stand in the program's files uncut


@dataclass(frozen=True)
class Part:
    """A stretch of the program; in a notebook a heading, a paragraph and a cell."""

    title: str
    words: str
    code: str


@dataclass(frozen=True)
class Recipe:
    """The program, and the files that lie beside it: name → text, or the file to copy."""

    parts: list[Part]
    files: dict[str, str | Path]
    told: list[str]  # sentences on what was checked


def check(source: Source) -> None:
    """Raise StudioError where the run cannot be written out, with the reason. Imports no torch."""
    config = source.config
    if not isinstance(config.objective, NextToken):
        raise ConfigError(
            f"'{config.objective.title}' is not written out: its loss and its data are the studio's own code.",
            remedy="Runs that learn the next token are.",
        )
    if reason := config.method.only_here():
        raise ConfigError(f"This run is not written out: {reason}.", remedy="Export its adapter instead.")
    reasons = {
        "its vocabulary was extended": config.vocabulary.new_tokens,
        "it guarded old data": config.old.source,
        "it trained on several devices": config.training.num_processes > 1,
    }
    if found := next((reason for reason, there in reasons.items() if there), None):
        raise ConfigError(f"This run is not written out: {found}.", remedy="Run it again without that.")
    if source.state.step == 0 or source.state.data is None or source.state.model is None:
        raise RunError("This run took no step.", remedy="Let it go on, or choose another one.")
    chosen = config.dataset
    open_source(chosen.source, source.workspace, chosen.mapping(), chosen.version)


def room(source: Source) -> int:
    """Bytes at most. Raises DatasetError where the rows are gone."""
    chosen, data = source.config.dataset, source.state.data
    rows = open_source(chosen.source, source.workspace, chosen.mapping(), chosen.version).train.path
    return 10_000_000 + _BYTES_A_TOKEN * (data.tokens if data else 0) + _UNPACKED * rows.stat().st_size


def recipe(source: Source, scratch: Path, tell: Tell) -> Recipe:
    """The run as a program; files that must be made lie in `scratch`. Imports torch. Raises StudioError."""
    check(source)
    tell("Reading the rows", 0, 3)
    train, held_out, columns = rows_of(source)
    tell("Rendering them as the model saw them", 1, 3)
    located, tokenizer = _tokenizer(source)
    objective = source.config.objective
    assert isinstance(objective, NextToken)
    learnt = rendered(train, columns, tokenizer, objective)
    scored = rendered(held_out, columns, tokenizer, objective) if held_out else []
    tell("Writing the program", 2, 3)
    parts = list(_parts(source, columns, located))
    files: dict[str, str | Path] = {
        "train.jsonl": as_lines(learnt),
        "eval.jsonl": as_lines(scored),
        "curve.jsonl": as_lines(curve(source)),
        "requirements.txt": _requirements(source, parts),
    }
    if located.path is None:
        files |= _tiny_files(scratch)
    told = [*compared(source, learnt, columns, tokenizer), *_about_model(located)]
    return Recipe(parts, files, told)


def zipped(to: Path, files: Mapping[str, str | Path]) -> None:
    """A zip file of texts and copies of files."""
    with zipfile.ZipFile(to, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if isinstance(content, Path):
                archive.write(content, name)
            else:
                archive.writestr(name, content)


# -- model ---------------------------------------------------------------------------------------------


def _tokenizer(source: Source) -> tuple[Located, Any]:
    from studio.data.tokens import use_template
    from studio.models.base import load_tokenizer
    from studio.models.catalog import locate
    from studio.models.tiny import tiny_tokenizer

    objective, chosen = source.config.objective, source.config.dataset
    assert isinstance(objective, NextToken)
    located = locate(source.config.model, source.workspace.models, lambda *_: None)
    tokenizer = load_tokenizer(located.path, located.title) if located.path else tiny_tokenizer()
    return located, tokenizer if chosen.format == "text" else use_template(tokenizer, objective.chat_template)


def _tiny_files(scratch: Path) -> dict[str, str | Path]:
    """The model that is made by code, as a folder."""
    from studio.models.quiet import no_bars
    from studio.models.tiny import tiny_model, tiny_tokenizer

    with no_bars():
        tiny_model().save_pretrained(scratch / _MODEL)
    tiny_tokenizer().save_pretrained(scratch / _MODEL)
    return {f"{_MODEL}/{path.name}": path for path in sorted((scratch / _MODEL).iterdir())}


def _name(located: Located) -> str:
    """By which transformers finds it; '' for a folder of this machine, whose path is nobody else's business."""
    bundled = BUNDLED.get(located.source)
    if bundled:
        return bundled.hub_name
    return {"tiny": _MODEL, "folder": ""}.get(located.source, located.title)


def _about_model(located: Located) -> list[str]:
    if located.source in BUNDLED:
        return [
            f"The studio's copy of {_name(located)} may come from a file of rounded weights: with the Hub's the losses "
            "differ a little. Name the folder of the copy to have the same."
        ]
    return [] if _name(located) else ["The model is a folder of this machine: the program must be told where it is."]


# -- program -------------------------------------------------------------------------------------------


def _parts(source: Source, columns: Columns, located: Located) -> Iterator[Part]:
    config, state = source.config, source.state
    training, made = config.training, state.made
    objective, model = config.objective, state.model
    assert isinstance(objective, NextToken) and model  # noqa: PT018
    padded = bool(made.padded) if made else config.method.pads
    packs = objective.packs(columns)
    apart = packs and not padded
    structure = structure_of(config.model, source.workspace.models)
    if structure is None:
        raise RunError("The files of the run's model are gone.", remedy="Fetch the model again.")
    attached = config.method.peft_config_for(structure, state.total_steps)
    quantised = config.method.quantization(model.dtype)

    yield Part("What is needed", texts.NEEDED, _imports(attached, quantised, training))
    yield Part("Settings", texts.SETTINGS, "".join(_settings(source, located)))
    reading = _reading(columns, objective, packs=packs, apart=apart)
    yield Part("The rows", texts.ROWS + (texts.PACKED if packs else ""), reading)
    yield Part("The model", texts.MODEL, _model(source, quantised))
    yield Part("What learns", f"{config.method.about} {texts.LEARNS}", _method(source, attached))
    loss = _loss(training, apart=apart, in_front=config.method.in_front())
    yield Part("Rows become a batch, a batch a loss", texts.LOSS, loss)
    yield Part("The order of the rows", texts.ORDER, texts.GROUPED if padded else texts.SHUFFLED)
    yield Part("The learning rate", texts.RATE, texts.SCHEDULES[training.lr_scheduler_type])
    yield Part("The optimizer", texts.OPTIMIZER, _optimizer(training))
    yield Part("Training", texts.TRAINING, _training(training))
    yield Part("The same as in the studio?", texts.COMPARED, texts.COMPARISON)


def _imports(attached: Any, quantised: Any, training: TrainingSettings) -> str:
    return texts.filled(
        texts.IMPORTS,
        contextlib="import contextlib\n" if training.neftune_noise_alpha else "",
        optimizer="import bitsandbytes\n" if training.optim in texts.EIGHT_BITS else "",
        peft=f"from peft import {type(attached).__name__}, get_peft_model\n" if attached is not None else "",
        bits="BitsAndBytesConfig, " if quantised is not None else "",
        names=texts.NAMES if training.weight_decay else "",
    )


def _settings(source: Source, located: Located) -> Iterator[str]:
    """A line for each value, and above it what the form says of it."""
    config, state = source.config, source.state
    objective, training, model = config.objective, config.training, state.model
    assert isinstance(objective, NextToken) and model  # noqa: PT018
    steps, kept = state.total_steps, state.saved.step if state.saved else state.step
    products = state.made.products if state.made else (model.dtype if model.dtype == "bfloat16" else "")
    of_schedule = {"WARMUP": ("warmup_steps", part(training.warmup_steps, steps))}
    if training.lr_scheduler_type == "warmup_stable_decay":
        of_schedule["DECAY"] = ("decay_steps", max(1, part(training.decay_steps, steps)))
    noise = {"NOISE": ("neftune_noise_alpha", training.neftune_noise_alpha)} if training.neftune_noise_alpha else {}
    named: dict[str, tuple[str, Any]] = {
        "SEED": ("seed", config.seed),
        "MAX_LENGTH": ("max_length", objective.max_length),
        "BATCH_SIZE": ("per_device_train_batch_size", training.per_device_train_batch_size),
        "ACCUMULATION": ("gradient_accumulation_steps", training.gradient_accumulation_steps),
        "LEARNING_RATE": ("learning_rate", training.learning_rate),
        **of_schedule,
        "WEIGHT_DECAY": ("weight_decay", training.weight_decay),
        "MAX_GRAD_NORM": ("max_grad_norm", training.max_grad_norm),
        "LABEL_SMOOTHING": ("label_smoothing_factor", training.label_smoothing_factor),
        **noise,
        "EVAL_STEPS": ("eval_steps", training.eval_steps or max(1, math.ceil(steps / 4))),
    }
    about = {fact.name: fact for cls in (TrainingSettings, type(config), NextToken) for fact in facts(cls)}
    yield f"RUN = {run_title(source)!r}\n"
    yield _comment(texts.WHICH_MODEL) + f"MODEL = {_name(located)!r}\n"
    for name, (key, value) in named.items():
        yield _comment(f"'{about[key].label}': {_first_sentence(about[key].help)}") + f"{name} = {value!r}\n"
    yield _comment(texts.STEPS) + f"STEPS = {steps!r}\n"
    yield _comment(texts.ENDS) + f"LAST_STEP, KEPT_STEP = {state.step!r}, {kept!r}\n"
    yield _comment(texts.FORMATS) + f"DTYPE = {_dtype(model.dtype)}\n"
    yield f"PRODUCTS = {_dtype(products) if products else None}\n"


def _first_sentence(text: str) -> str:
    return f"{text.partition('. ')[0].rstrip('.')}."


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, texts.WIDE))


def _dtype(name: str) -> str:
    """Raises RunError for what is no format: it becomes code."""
    if name not in ("bfloat16", "float16", "float32"):
        raise RunError("The run's log names no number format that is known.", remedy="Run it again.")
    return f"torch.{name}"


def _reading(columns: Columns, objective: NextToken, *, packs: bool, apart: bool) -> str:
    plain = columns.format == "text"
    chosen = "" if plain or objective.chat_template == "auto" else objective.chat_template
    encode = texts.ENCODE_TEXT if plain else texts.ENCODE_CHAT
    pack = texts.PACK if apart else texts.PACK_WHOLE if packs else texts.NOT_PACKED
    return texts.filled(
        texts.READING + encode + pack + texts.READ,
        template=f"tokenizer.chat_template = {_template(chosen)!r}  # 'Chat template'\n" if chosen else "",
        cut="" if packs else "[:MAX_LENGTH]",
        pack="pack(" if packs else "",
        packed=")" if packs else "",
    )


def _template(chosen: str) -> str:
    from studio.data.rendering import CHAT_TEMPLATES

    return CHAT_TEMPLATES[chosen]


def _model(source: Source, quantised: Any) -> str:
    more, after = "", ""
    if quantised is not None:
        told = {key: value for key, value in quantised.to_diff_dict().items() if key.startswith(("bnb_", "load_in_"))}
        more, after = f"    quantization_config={_call('BitsAndBytesConfig', told, {})},\n", texts.NEVER_PACK
    if source.config.training.gradient_checkpointing:
        after += texts.CHECKPOINTS
    return texts.filled(texts.LOAD, more=more) + after


def _method(source: Source, attached: Any) -> str:
    if attached is None:
        return texts.ALL_LEARN
    labels = {fact.name: f"'{fact.label}'" for fact in facts(type(source.config.method))}
    return texts.filled(texts.ATTACH, config=_call(type(attached).__name__, _told(attached), labels))


def _told(config: Any) -> dict[str, Any]:
    """What a config of peft says beside its defaults."""
    assert is_dataclass(config)
    found = {}
    for each in fields(config):
        value = getattr(config, each.name)
        default = each.default_factory() if callable(each.default_factory) else each.default
        if each.init and each.name not in _OWN and value != default:
            found[each.name] = value
    return found


def _call(name: str, values: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """A call with a line for each argument."""
    said = {key: f"  # {comments[key]}" if key in comments else "" for key in values}
    lines = [f"    {key}={_literal(value)},{said[key]}\n" for key, value in values.items()]
    return f"{name}(\n{''.join(lines)})"


def _literal(value: Any) -> str:
    """As Python reads it back. Raises RunError for what is no plain value."""
    return repr(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return _plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case set() | frozenset():
            return sorted(map(_plain, value))
        case list() | tuple():
            return [_plain(each) for each in value]
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
    raise RunError(
        f"A setting of the method is a {type(value).__name__}, which cannot be written down.",
        remedy="Export the adapter instead.",
    )


def _loss(training: TrainingSettings, *, apart: bool, in_front: int) -> str:
    noisy = bool(training.neftune_noise_alpha)
    return texts.filled(
        (texts.NOISE if noisy else "") + texts.BATCH + texts.SUMMED_LOSS,
        apart=texts.APART if apart else "",
        front=texts.BEHIND_PROMPT if in_front else "",
        noisy=texts.NOISY if noisy else "",
    )


def _optimizer(training: TrainingSettings) -> str:
    made = texts.EIGHT_BITS.get(training.optim, texts.ADAMW)
    grouped = texts.DECAYED if training.weight_decay else texts.ALIKE
    return grouped + texts.filled(made, fused=str(training.optim == "adamw_torch_fused"))


def _training(training: TrainingSettings) -> str:
    return texts.filled(texts.LOOP, clip=texts.CLIP if training.max_grad_norm else texts.NO_CLIP)


def _requirements(source: Source, parts: Sequence[Part]) -> str:
    """The packages that the program needs, in the versions that the run computed with."""
    known = source.state.made.packages if source.state.made else installed()
    code = "".join(each.code for each in parts).lower()
    wanted = [name for name in _NEEDED if name in known and (name != "bitsandbytes" or name in code)]
    return "".join(f"{name}=={_version(known[name])}\n" for name in wanted)


def _version(text: str) -> str:
    """Without what only this machine's build is called, such as '+cpu'."""
    return text.partition("+")[0]
