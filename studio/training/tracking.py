"""What a run's log says of steps and evaluations, handed on to trackers through transformers' integrations.

A tracker can hold nothing that the page does not show, and no step twice, for both read the same log. None may fail
a run: one that cannot go on is let go, and a note says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import copy
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from transformers import TrainerCallback
from transformers.integrations.integration_utils import (
    MLflowCallback,
    TensorBoardCallback,
    TrackioCallback,
    WandbCallback,
)

from studio.events import EvalDone, Note, StepDone
from studio.redaction import print_fault, redacted
from studio.trackers import TrackerSettings, title
from studio.workspace import RunFolder

_SECONDS = 30  # that a server may let a run wait
_QUIET = {  # nothing is told to makers of trackers, and a server that does not answer is soon given up
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": f"{_SECONDS}",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "WANDB_ERROR_REPORTING": "false",
}


@contextmanager
def _tensorboard(asked: TrackerSettings, run_id: str, place: Path) -> Iterator[TrainerCallback]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(place / "tensorboard" / run_id)) as writer:
        yield TensorBoardCallback(writer)


@contextmanager
def _wandb(asked: TrackerSettings, run_id: str, place: Path) -> Iterator[TrainerCallback]:
    wandb: Any = import_module("wandb")
    quiet = wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        init_timeout=_SECONDS,
        finish_timeout=_SECONDS,
    )
    named: dict[str, Any] = {"project": asked.project, "name": run_id, "id": run_id}
    place.mkdir(exist_ok=True)
    resume = "allow" if asked.wandb == "online" else None
    with wandb.init(**named, mode=asked.wandb, dir=str(place), resume=resume, settings=quiet):
        yield WandbCallback()


@contextmanager
def _trackio(asked: TrackerSettings, run_id: str, place: Path) -> Iterator[TrainerCallback]:
    os.environ.setdefault("TRACKIO_DIR", str(place / "trackio"))  # which is read as it is imported
    trackio: Any = import_module("trackio")
    yield TrackioCallback()  # goes on with the run of that name by itself
    trackio.finish()


@contextmanager
def _mlflow(asked: TrackerSettings, run_id: str, place: Path) -> Iterator[TrainerCallback]:
    mlflow: Any = import_module("mlflow")
    if not mlflow.is_tracking_uri_set():
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri((place / "mlruns").as_uri())
    mlflow.set_experiment(asked.project)
    wanted = f"attributes.run_name = '{run_id}'"
    earlier = mlflow.search_runs(filter_string=wanted, output_format="list")
    with mlflow.start_run(run_id=earlier[0].info.run_id if earlier else None, run_name=run_id):
        yield MLflowCallback()


_OPEN: dict[str, Callable[[TrackerSettings, str, Path], AbstractContextManager[TrainerCallback]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
    "mlflow": _mlflow,
}


class Tracking(TrainerCallback):
    """Opens the trackers as training begins, tells them what the log is told, and closes them behind `with`."""

    def __init__(self, asked: TrackerSettings, folder: RunFolder, place: Path) -> None:
        """`place` is the folder of trackers that write files."""
        self.asked, self.run_id, self.place = asked, folder.id, place
        self.log = folder.events
        self._offset = self.log.size()  # what is before it was told by whoever wrote it
        self._open: dict[str, tuple[ExitStack, TrainerCallback]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._open):
            self._let_go(name)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
        self._args = copy(args)
        self._args.project, self._args.run_name = self.asked.project, self.run_id
        self.place.mkdir(exist_ok=True)
        for name in self.asked.chosen():
            with self._forgiven(name):
                stack = ExitStack()
                callback = stack.enter_context(_OPEN[name](self.asked, self.run_id, self.place))
                self._open[name] = stack, callback
                callback.on_train_begin(self._args, state, control, model=model)

    def on_log(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if not self._open:
            return
        new, self._offset = self.log.read_from(self._offset)
        for event in new:
            if isinstance(event, StepDone | EvalDone):
                then = copy(state)
                then.global_step = event.step
                for name, (_, callback) in list(self._open.items()):
                    with self._forgiven(name):
                        callback.on_log(self._args, then, control, logs=dict(event.metrics), model=model)

    on_evaluate = on_log

    @contextmanager
    def _forgiven(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            print_fault()
            said = redacted((str(error).strip().splitlines() or [type(error).__name__])[0])[:300]
            self.log.append(Note(text=f"The run goes on without {title(name)}, which said: {said}"))
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        """Close a tracker, which may no longer fail."""
        stack, _ = self._open.pop(name, (ExitStack(), None))
        try:
            stack.close()
        except Exception as error:
            print_fault()
            self.log.append(Note(text=f"{title(name)} may lack the last steps: {type(error).__name__} at its end."))
