"""Writes docs/settings.md from the Settings classes, which state each field once.

python docs/make_settings.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.benchmarks.variants import BenchSettings
from studio.config import DatasetSettings, OldDataSettings, RunConfig, VocabularySettings
from studio.endpoint import WriterSettings
from studio.evaluate import EvaluationSettings
from studio.methods import methods
from studio.objectives import objectives
from studio.penalties import penalties
from studio.prompt import Prompt
from studio.prompts import strategies
from studio.rewards import rewards
from studio.settings import Facts, Settings, facts
from studio.study import StudySettings
from studio.trackers import TrackerSettings
from studio.training.settings import TrainingSettings

TARGET = Path(__file__).parent / "settings.md"


def text() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Made by `python docs/make_settings.py` from the classes that declare them; a test keeps it true."
    yield from _table("Top level", "", RunConfig)
    yield from _table("dataset", "", DatasetSettings)
    for kind, entries in (("objective", objectives()), ("method", methods())):
        for key, cls in entries.items():
            yield from _table(f"{kind}: {{name: {key}}}", f"**{cls.title}.** {cls.about}", cls)
    yield from _table("training", "", TrainingSettings)
    yield from _table("old", "", OldDataSettings)
    for key, cls in penalties().items():
        yield from _table(f"penalty: {{name: {key}}}", f"**{cls.title}.** {cls.about}", cls)
    for key, cls in rewards().items():
        yield from _table(f"rewards: {{{key}}}", f"**{cls.title}.** {cls.about}", cls)
    yield from _table("vocabulary", "", VocabularySettings)
    yield from _table("trackers", "", TrackerSettings)
    yield from _table(
        "prompts: top level", "Of a file for `finetune-studio prompts`; its data set as above.", StudySettings
    )
    yield from _table("prompt", "To begin with.", Prompt)
    for key, cls in strategies().items():
        yield from _table(f"strategy: {{name: {key}}}", f"**{cls.title}.** {cls.about}", cls)
    yield from _table("writer", "", WriterSettings)
    yield from _table(
        "bench: top level",
        "Of a file for `finetune-studio bench`. Each combination of its lists is measured.",
        BenchSettings,
    )
    yield from _table(
        "evaluation: top level",
        "Of a file for `finetune-studio evaluate`; beside them `candidates`, `dataset` and `old`.",
        EvaluationSettings,
    )


def _table(heading: str, about: str, cls: type[Settings]) -> Iterator[str]:
    yield from ("", f"## {heading}", "")
    if about:
        yield from (about, "")
    yield "| setting | default | values | what it does |"
    yield "|---|---|---|---|"
    yield from (_row(fact) for fact in facts(cls))


def _row(fact: Facts) -> str:
    default = "not set" if fact.default is None else f"`{_written(fact.default)}`"
    source = f" ({fact.source})" if fact.source else ""
    return f"| `{fact.name}` | {default} | {_values(fact)} | {fact.help}{source} |"


def _written(default: Any) -> str:
    """As YAML has it, where that is another way than Python's."""
    return json.dumps(default) if isinstance(default, tuple) else f"{default}"


def _values(fact: Facts) -> str:
    if fact.choices:
        listed = "list of " if fact.kind == "list" else ""
        return listed + ", ".join(f"`{choice}`" for choice in fact.choices)
    ends = [f"from {fact.minimum:,}"] if fact.minimum is not None else []
    ends += [f"to {fact.maximum:,}"] if fact.maximum is not None else []
    words = {"int": "whole number", "float": "number", "bool": "`true`, `false`", "text": "text", "list": "list"}
    return " ".join([words[fact.kind], *ends, *([f"({fact.unit})"] if fact.unit else [])])


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
