"""Searches for better prompts, and what fine-tuning was worth, in a process that holds the model.

A `Prompter` asks `python -m studio.prompter` with {"workspace"} and {"study": name} or {"worth": id of a run}. The
replies are {"doing", "done", "total"}, which count calls; what came of it is in the study's folder, or the run's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from studio.child import Child, Progress, Reply, Stopped, Tell, serve, teller
from studio.data.turns import Message
from studio.endpoint import Endpoint
from studio.errors import ModelError
from studio.launch import HUB
from studio.optimiser import Optimiser, Writes
from studio.rewards import Combined, Reward, Tools
from studio.speaker import ModelSpeaker
from studio.study import Study, look_up, parts
from studio.trained import Awake
from studio.workspace import Workspace
from studio.worth import Report, examine

LONGEST = 512  # tokens that the model writes where it writes for the search itself
_UNDER_WAY = ("search", "Wait for its end, or stop it where it is.")  # see `Binder.alone`


class Prompter:
    """The parent's side. One request at a time; the child starts at the first one and keeps the last model."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.child = Child(
            "studio.prompter",
            workspace.root / "prompter.log",
            "The process that looks for a better prompt ended.",
            "Go on: what was scored is kept. If it ends again, the model does not fit in memory beside what runs now.",
            keys=(*HUB, "*_API_KEY"),  # of the endpoint that writes
        )

    def run(self, name: str) -> Iterator[Progress]:
        """Go on with a study to its end.

        Raises StudioError. Closing the iterator leaves at once; to run it again goes on where it was.
        """
        # Here, and not where it is done: who asks for an end while the model is loaded is heard.
        _flag(look_up(self._workspace, name)).unlink(missing_ok=True)
        return self._ask({"study": name})

    def measure(self, run: str) -> Iterator[Progress]:
        """Measure anew what fine-tuning was worth; `studio.worth.known` has it then.

        Raises StudioError. Closing the iterator ends it, and what was known stays.
        """
        return self._ask({"worth": run})

    def _ask(self, what: dict[str, str]) -> Iterator[Progress]:
        with closing(self.child.told({"workspace": str(self._workspace.root), **what})) as parts:
            yield from (part for part in parts if isinstance(part, Progress))

    def stop(self, name: str) -> None:
        """Let a study that is under way end its search, and decide with what it has. Raises RunError without it."""
        _flag(look_up(self._workspace, name)).touch()

    def delete(self, name: str) -> None:
        """Do away with a study. Raises RunError where there is none, or it is under way."""
        study = look_up(self._workspace, name)
        with study.binder.alone(*_UNDER_WAY):
            pass
        study.binder.delete()

    def close(self) -> None:
        """Free the model's memory; the next request loads it again."""
        self.child.close()


def finish(
    workspace: Workspace,
    study: Study,
    tell: Tell = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
    pulse: Callable[[], None] = lambda: None,
    awake: Awake | None = None,
) -> None:
    """Go on with a study to its end, in this process. Raises StudioError.

    `stop`, as `Prompter.stop`, ends the search and lets it decide. `tell` and `pulse`, which is called at each token
    that is written, may raise to leave. `awake` keeps the model for the next one.
    """
    flag, awake, settings = _flag(study), awake or Awake(), study.settings

    def ended() -> bool:
        return stop() or flag.exists()

    with study.binder.alone(*_UNDER_WAY):
        tell("Reading the data", 0, 0)
        rows = parts(workspace, settings)
        awake.load(workspace, settings.model, settings.run, tell, tuned=settings.tuned)
        tell("Preparing the rewards", 0, 0)
        speaker, goal = _ready(workspace, awake, settings.rewards, pulse)
        Optimiser(study, rows, speaker, goal, _writer(study, speaker), tell, ended).run()


def measure(
    workspace: Workspace,
    run: str,
    tell: Tell = lambda *_: None,
    pulse: Callable[[], None] = lambda: None,
    awake: Awake | None = None,
) -> Report:
    """What fine-tuning was worth, measured in this process and kept in the run's folder. As `finish`."""
    kept = awake or Awake()

    def load(tuned: bool, rewards: Mapping[str, Reward]) -> tuple[ModelSpeaker, Combined]:
        kept.load(workspace, "", run, tell, tuned=tuned)
        return _ready(workspace, kept, rewards, pulse)

    return examine(workspace, run, load, tell)


def _ready(
    workspace: Workspace, awake: Awake, rewards: Mapping[str, Reward], pulse: Callable[[], None]
) -> tuple[ModelSpeaker, Combined]:
    """What answers, and what scores the answers."""
    goal = Combined(rewards, Tools(workspace, awake.model, awake.tokenizer))
    return ModelSpeaker(awake.model, awake.tokenizer, pulse), goal


def _flag(study: Study) -> Path:
    """Its existence asks whoever searches to decide."""
    return study.binder.folder / "stop"


def _writer(study: Study, speaker: ModelSpeaker) -> Writes:
    """The endpoint that was named, or the model itself."""
    chosen = study.settings.writer
    if chosen.url:
        return Endpoint(chosen)

    def write(asked: Sequence[Message], look: Callable[[], None]) -> str:
        (said,) = speaker.answers([asked], LONGEST)
        if said is None:
            raise ModelError(
                "What is to be written about is longer than the model reads.",
                remedy="Name an endpoint that writes, choose another strategy, or shorten the prompt.",
            )
        return said.text

    return write


# -- in the process ------------------------------------------------------------------------------------


class _Studies:
    """One after the other, with the model that was asked last."""

    def __init__(self) -> None:
        self._awake = Awake()

    def answer(self, request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
        def pulse() -> None:
            if stop():
                raise Stopped

        workspace, tell = Workspace(Path(request["workspace"])), teller(reply, stop)
        if "worth" in request:
            measure(workspace, request["worth"], tell, pulse, self._awake)
        else:
            finish(workspace, look_up(workspace, request["study"]), tell, pulse=pulse, awake=self._awake)


def main() -> None:
    """Answer until nobody asks any more."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    serve(_Studies().answer)


if __name__ == "__main__":
    main()
