"""Every group of settings that a person can write into a file, in the order in which the docs tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
from studio.settings import Settings
from studio.study import StudySettings
from studio.trackers import TrackerSettings
from studio.training.settings import TrainingSettings


@dataclass(frozen=True)
class Section:
    """One group. `about` is Markdown, and may be empty."""

    heading: str  # where it stands in a file
    about: str
    settings: type[Settings]


def sections() -> Iterator[Section]:
    """All of them."""
    yield Section("Top level", "", RunConfig)
    yield Section("dataset", "", DatasetSettings)
    for kind, entries in (("objective", objectives()), ("method", methods())):
        for key, cls in entries.items():
            yield Section(f"{kind}: {{name: {key}}}", f"**{cls.title}.** {cls.about}", cls)
    yield Section("training", "", TrainingSettings)
    yield Section("old", "", OldDataSettings)
    for key, cls in penalties().items():
        yield Section(f"penalty: {{name: {key}}}", f"**{cls.title}.** {cls.about}", cls)
    for key, cls in rewards().items():
        yield Section(f"rewards: {{{key}}}", f"**{cls.title}.** {cls.about}", cls)
    yield Section("vocabulary", "", VocabularySettings)
    yield Section("trackers", "", TrackerSettings)
    yield Section(
        "prompts: top level", "Of a file for `finetune-studio prompts`; its data set as above.", StudySettings
    )
    yield Section("prompt", "To begin with.", Prompt)
    for key, cls in strategies().items():
        yield Section(f"strategy: {{name: {key}}}", f"**{cls.title}.** {cls.about}", cls)
    yield Section("writer", "", WriterSettings)
    yield Section(
        "bench: top level",
        "Of a file for `finetune-studio bench`. Each combination of its lists is measured.",
        BenchSettings,
    )
    yield Section(
        "evaluation: top level",
        "Of a file for `finetune-studio evaluate`; beside them `candidates`, `dataset` and `old`.",
        EvaluationSettings,
    )
