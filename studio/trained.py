"""A run's model as it came out of training: its base, the words it was taught, and what it learnt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from studio.config import RunConfig
from studio.errors import ModelError
from studio.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class Trained:
    """In eval mode; what it learnt is frozen and can be switched off."""

    model: Any
    tokenizer: Any
    config: RunConfig


def load_trained(
    folder: RunFolder,
    workspace: Workspace,
    tell: Callable[[str], None] = lambda phase: None,
    beside: Any = None,
) -> Trained:
    """The model of a run, its base from those that the workspace keeps. Raises StudioError.

    `tell` hears what is being loaded. `beside` is a model in memory whose frozen weights may serve as that base.
    """
    if not folder.adapter.is_dir():
        raise ModelError("This run saved no adapter.", remedy="Choose a run that was trained to its end.")
    from studio.models.base import load, placement
    from studio.models.catalog import locate
    from studio.models.sharing import shared_body

    config = _config_of(folder)
    located = locate(config.model, workspace.models, lambda *_: None)
    tell(f"Loading {located.title}")
    wanted, writes = config.number_format, config.objective.writes
    place, quantised = placement(wanted), config.method.quantization(wanted)
    shares = beside is not None and quantised is None and not writes
    body = shared_body(beside, located, place, folder.adapter) if shares else None
    return onto(load(located, place, quantised, writes=writes, model=body), folder, config)


def onto(loaded: Any, folder: RunFolder, config: RunConfig) -> Trained:
    """What a run learnt on a base of it as `studio.models.base.load` gives it. Raises ModelError."""
    from studio.adapter import attach_saved
    from studio.data.tokens import use_template
    from studio.models.vocabulary import restore

    if config.objective.writes:
        use_template(loaded.tokenizer, getattr(config.objective, "chat_template", "auto"))
    restore(loaded.model, loaded.tokenizer, folder.adapter)
    return Trained(attach_saved(loaded.model, folder.adapter).eval(), loaded.tokenizer, config)


def _config_of(folder: RunFolder) -> RunConfig:
    return RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8")))


def load_base(
    model: str,
    workspace: Workspace,
    tell: Callable[[str, float, float], None],
    number_format: Any = "auto",
    chat_template: Any = "auto",
) -> tuple[Any, Any]:
    """A model of the catalog as it is, to write text, and its tokenizer. Raises ModelError."""
    from studio.data.rendering import use_template
    from studio.models.base import load, placement
    from studio.models.catalog import locate

    located = locate(model, workspace.models, tell)
    tell(f"Loading {located.title}", 0, 0)
    loaded = load(located, placement(number_format))
    return loaded.model, use_template(loaded.tokenizer, chat_template)


def identity(workspace: Workspace, model: str, run: str, *, tuned: bool = True) -> str:
    """What tells a model from another: its name, or a run's and when that learnt. Raises RunError without the run."""
    if not run:
        return model
    folder = workspace.run(run)
    learnt = folder.adapter.stat().st_mtime_ns if folder.adapter.is_dir() else 0
    return json.dumps([str(folder.path), learnt, tuned])


@dataclass
class Awake:
    """The model asked for last. It stays in memory until another is wanted."""

    model: Any = None
    tokenizer: Any = None
    who: str = ""  # its `identity`

    def load(
        self,
        workspace: Workspace,
        model: str,
        run: str,
        tell: Callable[[str, float, float], None],
        *,
        tuned: bool = True,
    ) -> None:
        """That model, or what the run made of one; with `tuned` false, what the run began with. Raises StudioError."""
        who = identity(workspace, model, run, tuned=tuned)
        if who == self.who:
            return
        self.who, self.model, self.tokenizer = "", None, None  # the old model's memory first
        tell("Waking the model", 0, 0)
        if not run:
            self.model, self.tokenizer = load_base(model, workspace, tell)
        else:
            self.model, self.tokenizer = _of_run(workspace.run(run), workspace, tell, tuned)
        self.who = who


def _of_run(
    folder: RunFolder, workspace: Workspace, tell: Callable[[str, float, float], None], tuned: bool
) -> tuple[Any, Any]:
    config = _config_of(folder)
    if not config.objective.writes:
        raise ModelError("That run's model writes no text.", remedy="Choose another run, or a model.")
    if not tuned:
        template = getattr(config.objective, "chat_template", "auto")
        return load_base(config.model, workspace, tell, config.number_format, template)
    trained = load_trained(folder, workspace, lambda doing: tell(doing, 0, 0))
    return trained.model, trained.tokenizer
