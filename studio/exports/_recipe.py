"""A run written out as a program of transformers, peft and torch: what a script and a notebook have in common.

The program is made of fixed text and of the run's values, each of which goes through `repr`: whatever a label, a
column or a model is called, it stays a literal. `_texts.py` holds the fixed text, `_written` what of it is one
objective's own.
"""

from __future__ import annotations

import math
import textwrap
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config import RunConfig
from studio.data.library import open_source
from studio.data.templates import Mapping as Columns
from studio.errors import ConfigError, RunError
from studio.exports import Source, Tell
from studio.exports import _texts as texts
from studio.exports._names import run_title
from studio.exports._rows import as_lines, compared, curve, rows_of
from studio.exports._values import Named, about, assigned, call, comment, dtype, told
from studio.exports._written import Program, program_of
from studio.made import installed
from studio.models.catalog import BUNDLED, Located, structure_of
from studio.models.structure import Structure
from studio.settings import facts
from studio.training.schedules import part
from studio.training.settings import TrainingSettings

_NEEDED = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
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
    program_of(config.objective)
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
    located, config, tokenizer = _base(source, columns)
    program = program_of(source.config.objective)(source, train, columns, config, tokenizer)
    learnt = program.lines(train)
    scored = program.scored(held_out) if held_out else []
    tell("Writing the program", 2, 3)
    parts = list(_parts(source, program, located))
    files: dict[str, str | Path] = {
        "train.jsonl": as_lines(learnt),
        "eval.jsonl": as_lines(scored),
        "curve.jsonl": as_lines(curve(source)),
        "requirements.txt": _requirements(source, parts),
    }
    if located.path is None:
        files |= _tiny_files(scratch)
    return Recipe(parts, files, [compared(source, len(learnt), program.counts(learnt)), *_about_model(located)])


def zipped(to: Path, files: Mapping[str, str | Path]) -> None:
    """A zip file of texts and copies of files."""
    with zipfile.ZipFile(to, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if isinstance(content, Path):
                archive.write(content, name)
            else:
                archive.writestr(name, content)


# -- model ---------------------------------------------------------------------------------------------


def _base(source: Source, columns: Columns) -> tuple[Located, Any, Any]:
    """The model where it lies, its config as transformers has it, and its tokenizer as the run used it."""
    from transformers import AutoConfig

    from studio.data.rendering import use_template
    from studio.models.base import load_tokenizer
    from studio.models.catalog import locate
    from studio.models.tiny import tiny_model, tiny_tokenizer

    objective = source.config.objective
    chosen: Any = getattr(objective, "chat_template", "")
    located = locate(source.config.model, source.workspace.models, lambda *_: None)
    if located.path is None:
        config, tokenizer = tiny_model().config, tiny_tokenizer()
    else:
        config = AutoConfig.from_pretrained(located.path, trust_remote_code=False, local_files_only=True)
        tokenizer = load_tokenizer(located.path, located.title, writes=objective.writes)
    if chosen and columns.format != "text":
        use_template(tokenizer, chosen)
    return located, config, tokenizer


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


def _parts(source: Source, program: Program, located: Located) -> Iterator[Part]:
    config, state = source.config, source.state
    training, objective, model = config.training, config.objective, state.model
    assert model
    structure = structure_of(config.model, source.workspace.models, writes=objective.writes)
    if structure is None:
        raise RunError("The files of the run's model are gone.", remedy="Fetch the model again.")
    attached = _attached(config, structure, state.total_steps)
    quantised = config.method.quantization(model.dtype)

    yield Part("What is needed", texts.NEEDED, _imports(program, attached, quantised, training))
    yield Part("Settings", texts.SETTINGS, "".join(_settings(source, program, located)))
    yield Part(
        "The rows",
        program.words_on_rows(),
        texts.filled(texts.READING, template=program.template(), read=program.reading()),
    )
    yield Part("The model", texts.MODEL, _model(source, program, quantised))
    yield Part("What learns", f"{config.method.about} {texts.LEARNS}", _method(config, attached))
    yield Part("Rows become a batch, a batch a loss", program.words_on_loss(), _loss(config, program))
    yield Part("The order of the rows", texts.ORDER, texts.GROUPED if program.padded else texts.SHUFFLED)
    yield Part("The learning rate", texts.RATE, texts.SCHEDULES[training.lr_scheduler_type])
    yield Part("The optimizer", texts.OPTIMIZER, _optimizer(training, program))
    yield Part("Training", texts.TRAINING, _training(training, program))
    yield Part("The same as in the studio?", texts.COMPARED, texts.COMPARISON)


def _attached(config: RunConfig, structure: Structure, steps: int) -> Any | None:
    """What `get_peft_model` takes; None where all weights learn."""
    attached = config.method.peft_config_for(structure, steps)
    if attached is not None and not config.objective.writes:
        attached.task_type = "FEATURE_EXTRACTION"  # as `studio.methods.task_type` has it for a body alone
    return attached


def _imports(program: Program, attached: Any, quantised: Any, training: TrainingSettings) -> str:
    return texts.filled(
        texts.IMPORTS,
        contextlib="import contextlib\n" if _noisy(training, program) else "",
        optimizer="import bitsandbytes\n" if training.optim in texts.EIGHT_BITS else "",
        peft=f"from peft import {type(attached).__name__}, get_peft_model\n" if attached is not None else "",
        more=program.imports,
        functions=f"from torch.nn.functional import {program.functions}\n" if program.functions else "",
        model=program.model,
        bits="BitsAndBytesConfig, " if quantised is not None else "",
        names=texts.NAMES if training.weight_decay else "",
    )


def _noisy(training: TrainingSettings, program: Program) -> bool:
    return program.noisy and bool(training.neftune_noise_alpha)


def _settings(source: Source, program: Program, located: Located) -> Iterator[str]:
    """A line for each value, and above it what the form says of it."""
    config, state = source.config, source.state
    model, steps = state.model, state.total_steps
    assert model
    kept = state.saved.step if state.saved else state.step
    products = state.made.products if state.made else (model.dtype if model.dtype == "bfloat16" else "")
    named: Named = {
        "MODEL": (texts.WHICH_MODEL, _name(located)),
        "SEED": (about(RunConfig, "seed"), config.seed),
        **program.settings(),
        **_of_training(config.training, program, steps),
        "STEPS": (texts.STEPS, steps),
    }
    yield f"RUN = {run_title(source)!r}\n"
    for name, (said, value) in named.items():
        yield assigned(name, said, value)
    yield comment(texts.ENDS) + f"LAST_STEP, KEPT_STEP = {state.step!r}, {kept!r}\n"
    yield comment(texts.FORMATS) + f"DTYPE = {dtype(model.dtype)}\n"
    yield f"PRODUCTS = {dtype(products) if products else None}\n"


def _of_training(training: TrainingSettings, program: Program, steps: int) -> Named:
    """Its values in a run of so many updates, where they count."""
    values: dict[str, tuple[str, Any]] = {
        "BATCH_SIZE": ("per_device_train_batch_size", training.per_device_train_batch_size),
        "ACCUMULATION": ("gradient_accumulation_steps", training.gradient_accumulation_steps),
        "LEARNING_RATE": ("learning_rate", training.learning_rate),
        "WARMUP": ("warmup_steps", part(training.warmup_steps, steps)),
    }
    if training.lr_scheduler_type == "warmup_stable_decay":
        values["DECAY"] = ("decay_steps", max(1, part(training.decay_steps, steps)))
    values["WEIGHT_DECAY"] = ("weight_decay", training.weight_decay)
    values["MAX_GRAD_NORM"] = ("max_grad_norm", training.max_grad_norm)
    if program.smooths:
        values["LABEL_SMOOTHING"] = ("label_smoothing_factor", training.label_smoothing_factor)
    if _noisy(training, program):
        values["NOISE"] = ("neftune_noise_alpha", training.neftune_noise_alpha)
    values["EVAL_ROWS"] = ("eval_rows", training.eval_rows)
    values["EVAL_STEPS"] = ("eval_steps", training.eval_steps or max(1, math.ceil(steps / 4)))
    return {name: (about(TrainingSettings, key), value) for name, (key, value) in values.items()}


def _model(source: Source, program: Program, quantised: Any) -> str:
    more, after = "", program.settled()
    if quantised is not None:
        said = {key: value for key, value in quantised.to_diff_dict().items() if key.startswith(("bnb_", "load_in_"))}
        more = textwrap.indent(f"quantization_config={call('BitsAndBytesConfig', said, {})},\n", "    ")
        after += texts.NEVER_PACK
    if source.config.training.gradient_checkpointing:
        after += texts.CHECKPOINTS
    return texts.filled(texts.LOAD, model=program.model, more=more) + after


def _method(config: RunConfig, attached: Any) -> str:
    if attached is None:
        return texts.ALL_LEARN
    labels = {fact.name: f"'{fact.label}'" for fact in facts(type(config.method))}
    return texts.filled(texts.ATTACH, config=call(type(attached).__name__, told(attached), labels))


def _loss(config: RunConfig, program: Program) -> str:
    noisy = _noisy(config.training, program)
    return texts.filled(
        texts.PADDED + (texts.NOISE if noisy else "") + program.loss() + texts.HELD_OUT,
        computed=texts.COMPUTED,
        noisy=texts.NOISY if noisy else "",
        front=texts.BEHIND_PROMPT if config.method.in_front() else "",
        body=program.body,
        items=program.items,
    )


def _optimizer(training: TrainingSettings, program: Program) -> str:
    made = texts.EIGHT_BITS.get(training.optim, texts.ADAMW)
    grouped = program.decayed if training.weight_decay else program.groups
    return grouped + texts.filled(made, fused=str(training.optim == "adamw_torch_fused"))


def _training(training: TrainingSettings, program: Program) -> str:
    return texts.filled(
        texts.LOOP,
        begin=program.begin,
        items=program.items,
        smoothing=", LABEL_SMOOTHING" if program.smooths else "",
        rate=program.rate,
        save=program.save,
        clip=texts.CLIP if training.max_grad_norm else texts.NO_CLIP,
    )


def _requirements(source: Source, parts: Sequence[Part]) -> str:
    """The packages that the program needs, in the versions that the run computed with."""
    known = source.state.made.packages if source.state.made else installed()
    code = "".join(each.code for each in parts).lower()
    wanted = [name for name in _NEEDED if name in known and (name != "bitsandbytes" or name in code)]
    return "".join(f"{name}=={_version(known[name])}\n" for name in wanted)


def _version(text: str) -> str:
    """Without what only this machine's build is called, such as '+cpu'."""
    return text.partition("+")[0]
