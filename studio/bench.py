"""A benchmark on disk: which variants of which models are measured, what this machine can do of them, what came of it.

A line of its steps is one of
    {"found": variant's key, "round": from 0, "load": seconds, "warmup": seconds, "host": GB, "device": GB,
     "batches": [[times, wrote, read]], "answer": text}
    {"quality": setup's key, "nats", "tokens", "bytes", "rows": scored, "asked": rows that there are}
    {"failed": variant's key, "why": sentence, "died": whether its process ended without a word, for another try}
Whoever goes on measures what is missing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from studio import study
from studio.benchmarks.figures import Batch, Figures, Quality, figures, flat
from studio.benchmarks.variants import (
    MERGED,
    BenchSettings,
    Machine,
    Variant,
    choices,
    differs,
    run_of,
    search_of,
    setups,
    this_machine,
    variants,
    why_not,
)
from studio.binder import Binder, Stepwise, create, find, listed
from studio.config import RunConfig
from studio.data.library import open_source
from studio.errors import ConfigError, RunError
from studio.models.catalog import SUGGESTIONS, check_name, check_use
from studio.prompt import examples_of
from studio.store import Store
from studio.workspace import Workspace


@dataclass
class Measured:
    """What is known of one variant."""

    variant: Variant
    title: str  # of its model
    gpu: bool  # whether its memory is that of a GPU
    rounds: dict[int, list[Batch]] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)  # seconds, a round each
    warmups: list[float] = field(default_factory=list)
    host: float = 0.0  # GB of the process at most, loading included
    device: float = 0.0  # GB of the GPU at most; 0 without one
    answer: str = ""  # the first, for the eye
    quality: Quality | None = None
    why: str = ""  # it could not be measured, or not in all rounds
    died: bool = False  # of that: another try may go well

    @cached_property
    def figures(self) -> Figures | None:
        """Of the rounds that were measured; None where there are none."""
        return figures(list(self.rounds.values())) if self.rounds else None

    @property
    def memory(self) -> float:
        """GB, of the GPU where the machine has one; 0 where that is not known, as of llama.cpp's."""
        return self.device if self.gpu else self.host

    @property
    def name(self) -> str:
        return f"{self.title}, {self.variant.how}"

    def row(self) -> dict[str, Any]:
        """All of it as one line of a table."""
        found, quality = self.figures, self.quality
        return {
            **self.variant.model_dump(),
            "title": self.title,
            "why": self.why,
            **(flat(found) if found else {}),
            "load_seconds": min(self.loads, default=None),
            "warmup_seconds": max(self.warmups, default=None),
            "host_gb": self.host or None,
            "device_gb": self.device or None,
            "perplexity": quality and quality.perplexity,
            "bits_per_byte": quality and quality.bits_per_byte,
            "scored_rows": quality and quality.rows,
            "asked_rows": quality and quality.asked,
            "answer": self.answer,
        }


class Bench(Stepwise):
    """One of them on disk, as it is now."""

    def __init__(self, binder: Binder) -> None:
        self.settings = BenchSettings.parse(binder.about["settings"])
        self.machine: dict[str, Any] = binder.about["machine"]
        titles, left_out = binder.about["titles"], binder.about["left_out"]
        self.measured = {
            each.key: Measured(each, titles[each.model], bool(self.machine["gpu"]), why=left_out.get(each.key, ""))
            for each in variants(self.settings)
        }
        super().__init__(binder)

    def missing(self, turn: int) -> list[Variant]:
        """What is to be measured still in that round, from 0."""
        return [each.variant for each in self.measured.values() if not each.why and turn not in each.rounds]

    def unscored(self) -> list[list[Variant]]:
        """What was measured without its quality, each setup by itself."""
        return list(
            setups([each.variant for each in self.measured.values() if each.rounds and not each.quality]).values()
        )

    @property
    def ended(self) -> bool:
        died = any(each.died for each in self.measured.values())
        return not (died or self.unscored() or any(self.missing(turn) for turn in range(self.settings.rounds)))

    def retry(self) -> None:
        """Those whose process ended count as missing again."""
        for each in self.measured.values():
            if each.died:
                each.why, each.died = "", False

    def _take(self, step: dict[str, Any]) -> None:
        match step:
            case {"found": key, "round": turn, "batches": batches} if key in self.measured:
                each = self.measured[key]
                each.rounds[turn] = [Batch(*map(tuple, batch)) for batch in batches]
                each.loads.append(step["load"])
                each.warmups.append(step["warmup"])
                each.host, each.device = max(each.host, step["host"]), max(each.device, step["device"])
                each.answer = each.answer or step["answer"]
                each.why, each.died = "", False  # it died before, and this time it did not
            case {"quality": setup, "nats": nats, "tokens": tokens, "bytes": size, "rows": rows, "asked": asked}:
                quality = Quality(math.nan if nats is None else nats, tokens, size, rows, asked)
                for each in self.measured.values():
                    if each.variant.setup == setup:
                        each.quality = quality
            case {"failed": key, "why": why, "died": died} if key in self.measured:
                self.measured[key].why, self.measured[key].died = why, died

    def rows(self) -> list[dict[str, Any]]:
        """A line for each variant, with the same columns."""
        found = [each.row() for each in self.measured.values()]
        names = list(dict.fromkeys(name for row in sorted(found, key=len, reverse=True) for name in row))
        return [{name: row.get(name) for name in names} for row in found]

    def plain(self) -> dict[str, Any]:
        """All of it, for a JSON file."""
        return {
            "title": self.title,
            "settings": self.settings.model_dump(mode="json"),
            "machine": self.machine,
            "results": self.rows(),
        }


def begin(workspace: Workspace, settings: BenchSettings) -> Bench:
    """A new one. Raises StudioError for whatever could not be measured here."""
    machine = this_machine()
    _check_choices(settings, machine)
    titles = {each: _title(workspace, each) for each in settings.models}
    if "gguf" in settings.precision:
        titles[settings.gguf] = _gguf_title(settings.gguf)
    check_prompts(workspace, settings.prompts)
    asked = variants(settings)
    left_out = {each.key: why for each in asked if (why := why_not(each, machine))}
    if len(left_out) == len(asked):
        raise ConfigError(next(iter(left_out.values())), remedy="Choose another combination: this leaves nothing.")
    title = ", ".join(list(titles.values())[:2]) + (" …" if len(titles) > 2 else "")
    about = {
        "title": title,
        "settings": settings.model_dump(mode="json"),
        "machine": asdict(machine),
        "titles": titles,
        "left_out": left_out,
    }
    return Bench(create(workspace.benchmarks, title, about))


def _check_choices(settings: BenchSettings, machine: Machine) -> None:
    """Raise ConfigError for the first one that cannot be had here at all."""
    for axis, values in choices(machine).items():
        for each in getattr(settings, axis):
            if why := values[each]:
                raise ConfigError(why, remedy=f"Take {each!r} out of '{axis}', or measure on another machine.")


def _title(workspace: Workspace, model: str) -> str:
    """What people call a model. Raises StudioError where it cannot write."""
    run = run_of(model)
    if not run:
        check_name(model)
        check_use(model, workspace.models, writes=True)
        return next((each.title for each in SUGGESTIONS if each.model == model), model)
    folder = workspace.run(run)
    state = Store(workspace).state(run)
    config = RunConfig.parse(state.config)
    if not config.objective.writes:
        raise ConfigError(f"The model of {run} writes no text.", remedy="Choose another run.")
    if not folder.adapter.is_dir():
        raise ConfigError(f"{run} saved nothing that it learnt.", remedy="Choose a run that was trained to its end.")
    if not model.startswith(MERGED):
        return f"{state.title} (adapter)"
    if not merges(config):
        raise ConfigError(
            f"What {run} learnt cannot be written into the base's weights.", remedy=f"Take 'run:{run}' instead."
        )
    return f"{state.title} (merged)"


def merges(config: RunConfig) -> bool:
    """Whether what a run of it learnt can be written into its base's weights.

    QLoRA's inside 4 bits would be destroyed; into the base as it was before rounding it goes as any LoRA does.
    """
    return config.method.merges or config.method_name == "qlora"


def _gguf_title(path: str) -> str:
    if not path:
        raise ConfigError("No GGUF file is named.", remedy="Give its path under 'GGUF file', or take gguf out.")
    magic = b""
    with suppress(OSError, ValueError):  # such as a null byte in its name
        file = Path(os.path.expanduser(path))  # unlike Path's, it leaves an unknown user as it is
        if file.is_file():  # a pipe would be waited for
            with file.open("rb") as opened:
                magic = opened.read(4)
    if magic != b"GGUF":
        raise ConfigError(f"{path} is no GGUF file that can be read.", remedy="Check the path.")
    return Path(path).name


def check_prompts(workspace: Workspace, source: str) -> None:
    """Raise StudioError where nothing can be asked."""
    if run := run_of(source):
        if not holds_out(workspace, run):
            raise RunError(f"{run} held no rows out.", remedy="Choose a data set, or the text of ours.")
    elif search := search_of(source):
        if not study.look_up(workspace, search).end:
            raise RunError("That search for a prompt is not at its end.", remedy="Go on with it, or choose another.")
    elif source:
        opened = open_source(source, workspace)
        if not examples_of(opened.train.rows, opened.mapping):
            raise ConfigError(
                f"{opened.title} has no row with a question and an answer.", remedy="Choose another data set."
            )


def holds_out(workspace: Workspace, run: str) -> bool:
    """Whether a run kept rows that it did not learn from. Raises RunError where there is no such run."""
    kept = workspace.run(run).held_out
    return kept.is_file() and kept.stat().st_size > 0


def unfinished(workspace: Workspace, settings: BenchSettings) -> Bench | None:
    """The newest of these settings, on this machine, that has not come to its end."""
    wanted, machine = settings.model_dump(mode="json"), asdict(this_machine())
    for bench in benches(workspace):
        if bench.settings.model_dump(mode="json") == wanted and bench.machine == machine and not bench.ended:
            return bench
    return None


def benches(workspace: Workspace) -> Iterator[Bench]:
    """All of them, newest first; damaged ones are left out."""
    for binder in listed(workspace.benchmarks):
        try:
            yield Bench(binder)
        except (ConfigError, KeyError):
            continue


_ASKED = ("prompts", "rows", "seed", "temperature", "warmup")


def apart(now: Bench, was: Bench) -> str:
    """What speaks against comparing the figures of two, in sentences; '' where nothing does."""
    changed = [
        f"{each} {getattr(was.settings, each)!r}"
        for each in _ASKED
        if getattr(now.settings, each) != getattr(was.settings, each)
    ]
    asked = f"Asked otherwise: {', '.join(changed)}." if changed else ""
    return " ".join(filter(None, (differs(now.machine, was.machine), asked)))


def same_texts(now: Bench, was: Bench) -> bool:
    """Whether their qualities are of the same right answers."""
    a, b = now.settings, was.settings
    return a.prompts == b.prompts and (not a.prompts or (a.rows, a.seed) == (b.rows, b.seed))


def look_up(workspace: Workspace, name: str) -> Bench:
    """Raises RunError where there is none of that name."""
    return Bench(find(workspace.benchmarks, name))
