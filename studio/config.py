"""RunConfig: everything a run is asked to do, as one tree of Settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

import studio.methods
import studio.objectives
import studio.penalties
import studio.rewards
from studio.catalog import Chosen, Several, key_of
from studio.data.templates import Mapping
from studio.errors import ConfigError
from studio.methods import Method
from studio.objectives import Objective
from studio.penalties import Penalty
from studio.rewards import Reward
from studio.settings import Settings, setting
from studio.trackers import TrackerSettings
from studio.training.settings import TrainingSettings
from studio.yaml_text import nodes_of


class DatasetSettings(Settings):
    """Which rows, and how their columns are read."""

    source: str = setting(
        "customer_messages",
        "Data set",
        help="A sample's name, the name of a data set of the workspace, or the path of a CSV, TSV, JSON, JSONL, "
        "Parquet or text file.",
    )
    validation_share: float = setting(
        0.1,
        "Held-out share",
        ge=0,
        lt=1,
        help="This part of the rows is never trained on and tells whether the model learnt or memorised. "
        "Unused where the data set brings its own held-out rows.",
        source="Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, section 7.2",
    )
    test_share: float = setting(
        0.0,
        "Test share",
        ge=0,
        lt=1,
        advanced=True,
        help="This part is set apart too and never looked at while training: for a last, honest score.",
        source="Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, section 7.2",
    )
    split: Literal["random", "stratified", "grouped", "clusters"] = setting(
        "random",
        "How rows are held out",
        advanced=True,
        help="'stratified' keeps the shares of each value of a column, 'grouped' keeps rows with the same value "
        "together, 'clusters' keeps near duplicates together. Equal rows always stay on one side.",
        source="Kohavi 1995, A Study of Cross-Validation and Bootstrap; Kapoor & Narayanan 2023, arXiv:2207.07048",
    )
    split_column: str = setting(
        "",
        "Column to split by",
        advanced=True,
        max_length=500,
        help="For 'stratified' and 'grouped'.",
    )
    # Not in the form. The version: the current one unless named; a run's config says which it used.
    version: str = Field(default="", max_length=64)
    # Set under 'Columns' in the Dataset tab; None: as stored, else detected.
    format: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)

    def mapping(self) -> Mapping | None:
        """The mapping asked for; None leaves it to what is stored with the data set, or detected."""
        return Mapping(self.format, dict(self.columns)) if self.format else None


class OldDataSettings(Settings):
    """Data of what the model could do before, so that forgetting is seen and held back."""

    source: str = setting(
        "",
        "Old data",
        max_length=1000,
        help="A data set of what the model must not forget, named as under 'Data set'. Its loss is drawn beside "
        "the new data's. Empty: nothing is guarded.",
    )
    replay_share: float = setting(
        0.0,
        "Replay share",
        ge=0,
        le=0.9,
        help="This share of the training tokens is old data, mixed in by whole rows. 0.05 to 0.25 is usual.",
        source="Scialom et al. 2022, arXiv:2205.12393",
    )
    rows: int = setting(
        48,
        "Old rows for the loss",
        ge=1,
        le=100_000,
        advanced=True,
        unit="rows",
        help="At most this many rows of old data, and at most half of them, are scored at each evaluation; they are "
        "never trained on.",
    )
    # Not in the form; as in the data set's settings.
    version: str = Field(default="", max_length=64)
    format: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)

    def mapping(self) -> Mapping | None:
        """As `DatasetSettings.mapping`."""
        return Mapping(self.format, dict(self.columns)) if self.format else None


class VocabularySettings(Settings):
    """Terms of a domain that become tokens of their own."""

    new_tokens: int = setting(
        0,
        "New tokens",
        ge=0,
        le=10_000,
        unit="tokens",
        help="At most so many frequent terms of the data become single tokens; their embeddings begin as the mean "
        "of their pieces' and are learnt. Texts get shorter. 0: the vocabulary stays.",
        source="Hewitt 2021, Initializing New Word Embeddings for Pretrained Language Models",
    )
    min_count: int = setting(
        10,
        "Fewest occurrences",
        ge=2,
        le=1_000_000,
        advanced=True,
        help="Rarer terms are not proposed: too few examples to learn an embedding from.",
    )


def _key(name: str) -> Any:
    """A default that is looked up in its catalog like anything a person writes."""
    return Field(default=name)


class RunConfig(Settings):
    """One run. `version` lets later studios read it."""

    version: int = Field(default=1, ge=1, le=1)
    model: str = setting(
        "starter",
        "Model",
        min_length=1,
        max_length=500,
        help="'starter' (SmolLM2-135M-Instruct), 'tiny' (random, for dry runs), a Hub id such as "
        "Qwen/Qwen3-0.6B, or a local folder.",
    )
    dataset: DatasetSettings = DatasetSettings()
    objective: Annotated[Objective, Chosen(studio.objectives, Objective)] = _key("next_token")
    method: Annotated[Method, Chosen(studio.methods, Method)] = _key("lora")
    training: TrainingSettings = TrainingSettings()
    old: OldDataSettings = OldDataSettings()
    penalty: Annotated[Penalty, Chosen(studio.penalties, Penalty)] = _key("none")
    rewards: Annotated[dict[str, Reward], Several(studio.rewards, Reward)] = Field(default_factory=dict)
    vocabulary: VocabularySettings = VocabularySettings()
    trackers: TrackerSettings = TrackerSettings()
    comparison: str = Field(default="", max_length=64)  # runs with the same one are compared side by side
    label: str = Field(default="", max_length=100)  # what the run is called beside its method, model and data
    seed: int = setting(
        0,
        "Seed",
        ge=0,
        le=2**31 - 1,
        help="The same seed gives the same run on the same machine.",
        source="PyTorch documentation: Reproducibility",
    )

    @property
    def method_name(self) -> str:
        return key_of(self.method)

    @property
    def number_format(self) -> Any:
        """Of the base's weights: as chosen, or what suits the method."""
        chosen = self.training.dtype
        return chosen if chosen != "auto" else self.method.dtype

    def settled(self) -> RunConfig:
        """With what was left to the method filled in, so that the run's config says what it used."""
        if self.training.learning_rate is not None:
            return self
        rate = self.objective.learning_rate(self.method)
        return self.model_copy(update={"training": self.training.model_copy(update={"learning_rate": rate})})

    def to_dict(self, *, short: bool = False) -> dict[str, Any]:
        """Plain values; `short` leaves out what equals its default."""
        values = self.model_dump(mode="json")
        return _without_defaults(values) if short else values

    def to_yaml(self, *, short: bool = True) -> str:
        return yaml.safe_dump(self.to_dict(short=short), sort_keys=False, allow_unicode=True)

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False), encoding="utf-8")
        partial.replace(path)


def _without_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Drops defaults but keeps the keys that say what the run is about."""
    kept = {"model", "dataset", "objective", "method", "training", "seed"}
    # The defaults of the chosen method and objective, not of the default ones.
    chosen = {key: {"name": values[key]["name"]} for key in ("objective", "method", "penalty")}
    defaults = RunConfig.parse(chosen).to_dict()
    short: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value == defaults[key] and key not in kept:
            continue
        if isinstance(value, dict):
            named = {"name", "source"}
            value = {k: v for k, v in value.items() if k in named or v != defaults[key].get(k)}
        if key in kept or value != defaults[key]:
            short[key] = value
    return {key: value for key, value in short.items() if value != {}}


def read_config(path: Path) -> RunConfig:
    """A RunConfig from a YAML or JSON file. Raises ConfigError."""
    return RunConfig.parse(read_settings(path))


def read_settings(path: Path) -> dict[str, Any]:
    """What a YAML or JSON file holds, as plain values. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
        nodes_of(text)
        values = yaml.safe_load(text)
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}.", remedy="Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({type(error).__name__}).", remedy="Give a YAML text file.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path} is not valid YAML{where}.", remedy="Mend that line and try again.") from None
    except ValueError as error:  # of what YAML takes for a date, too
        raise ConfigError(
            f"{path} cannot be read ({error}).", remedy="Write plain settings, and what looks like a date in quotes."
        ) from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply.", remedy="Write plain settings.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings.", remedy="Write 'key: value' lines; the README shows one.")
    return values
