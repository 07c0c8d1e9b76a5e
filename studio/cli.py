"""The same jobs without a browser. The page itself is handed in, for this side knows nothing of it."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio import __version__, events
from studio.cli_options import parser
from studio.cloud import DEVICE, Cloud
from studio.config import read_config
from studio.errors import DatasetError, StudioError, explain
from studio.jobs import create_run, unfinished, unleash
from studio.launch import keys_for, worker_environment, worker_module
from studio.models import machine
from studio.store import Store
from studio.workshop import Workshop
from studio.workspace import RunFolder, Workspace

Serve = Callable[[argparse.Namespace, Workspace], None]


def main(serve: Serve, argv: list[str] | None = None) -> int:
    """Run a command; its exit code. Faults are one line on stderr, never a traceback."""
    options = parser().parse_args(argv)
    as_json = getattr(options, "json", False)
    try:
        workspace = Workspace(options.workspace).create()
        if options.command == "train":
            cloud = Cloud.ask(options.cloud, options.hours, options.most) if options.cloud else None
            return train(options.config, workspace, resume=options.resume, cloud=cloud)
        if options.command == "rehearse":
            return rehearse(options, workspace)
        if options.command in ("prompts", "worth"):
            return _prompts(options, workspace)
        if options.command in ("bench", "evaluate", "card"):
            return _judge(options, workspace)
        if options.command in ("export", "import", "publish"):
            return _share(options, workspace)
        if options.command == "check":
            return check(options.file, workspace, as_json=as_json)
        if options.command == "doctor":
            return doctor(workspace)
        if options.command == "reset-workshop":
            return reset_workshop(workspace)
        if options.command == "recipes":
            return _recipes(options.recipe)
        serve(options, workspace)
        return 0
    except StudioError as error:
        return _refuse(error, as_json=as_json)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return _refuse(explain(error), as_json=as_json)


def _refuse(error: StudioError, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"usable": False, "problem": error.problem, "remedy": error.remedy}))
    else:
        print(f"finetune-studio: {error}", file=sys.stderr)
    return 1


def train(config_path: Path, workspace: Workspace, *, resume: bool = False, cloud: Cloud | None = None) -> int:
    """Train what a config says in a worker of its own, telling how it goes. Ctrl-C ends it after its step.

    `resume` goes on with the newest run of that same config that has not come to its end, where there is one.
    """
    config = read_config(config_path)
    folder = (unfinished(workspace, config, cloud) if resume else None) or create_run(workspace, config, cloud)
    devices = machine.devices()[: config.training.num_processes]
    if cloud:
        print(cloud.sentence(), flush=True)
        devices = [DEVICE]
    unleash(folder)
    offset, told = folder.events.size(), _Teller()
    worker = subprocess.Popen(
        [sys.executable, "-m", worker_module(folder), str(folder.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=worker_environment(",".join(devices), keys_for(folder)),
        start_new_session=True,
    )
    _stop_on_interrupt(folder)
    while True:
        ended = worker.poll() is not None  # before reading: what it wrote last must still be read
        new, offset = folder.events.read_from(offset)
        for event in new:
            told.tell(event)
        if ended:
            break
        time.sleep(0.1)
    return _outcome(Store(workspace), folder)


def _stop_on_interrupt(folder: RunFolder) -> None:
    """Ctrl-C asks the run to end after its step; a second one leaves at once and lets it end alone."""
    said = "Stopping after this step; what was learnt will be saved.\n"
    if folder.cloud.exists():
        said = "Ending the job in the cloud; its last checkpoint is fetched.\n"

    def ask(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        folder.stop_flag.touch()
        os.write(1, said.encode())

    signal.signal(signal.SIGINT, ask)


def _outcome(store: Store, folder: RunFolder) -> int:
    state = store.state(folder.id)
    if state.status == "failed":
        print(f"finetune-studio: {state.problem} {state.remedy}", file=sys.stderr)
    print(folder.path)
    return 1 if state.status == "failed" else 0


_SCORES = (
    ("eval_loss", "held-out loss"),
    ("eval_old_loss", "loss on old data"),
    ("eval_accuracy", "accuracy"),
    ("eval_f1", "F1"),
)


def _head_line(head: dict[str, Any]) -> str:
    """How well one head labels held-out rows, beside the constant answer that is right most often."""
    constant = {name: f" ({value:.3f})" for name, value in head["baseline"].items()}
    shown = (f"{name} {value:.3f}{constant.get(name, '')}" for name, value in head["metrics"].items())
    return f"{head['name']}: {head['rows']} held-out rows, tuned (constant answer): {', '.join(shown)}"


class _Teller:
    """Events as lines for a terminal, a step's at most once a second."""

    def __init__(self) -> None:
        self._phase = ""
        self._last_step = 0.0

    def tell(self, event: events.Event) -> None:
        if line := self._line(event):
            print(line, flush=True)

    def _line(self, event: events.Event) -> str:
        match event:
            case events.Phase() if event.name != self._phase:
                self._phase = event.name
                return f"{event.name} ..."
            case events.ModelReady():
                share = 100 * event.trainable_parameters / event.parameters
                return (
                    f"{event.name} on {event.device} in {event.dtype}: {event.trainable_parameters:,} weights "
                    f"learn ({share:.2f} %). {event.reason}"
                )
            case events.DataReady():
                return (
                    f"{event.train_rows} rows to learn from, {event.validation_rows} held out, "
                    f"{event.truncated_rows} cut off, {event.skipped_rows} left out; {event.tokens:,} tokens."
                )
            case events.StepDone() if self._due(event):
                left = event.seconds / event.step * (event.total_steps - event.step)
                return (
                    f"step {event.step}/{event.total_steps}  loss {event.metrics['loss']:.3f}  "
                    f"{event.metrics['tokens_per_second']:.0f} tokens/s  {left:.0f} s left"
                )
            case events.Continued():
                return " ".join([*event.skipped, f"Goes on from step {event.step}."])
            case events.Shrunk():
                return (
                    f"Memory ran out: batches of {event.per_device_train_batch_size} from here on, "
                    f"{event.gradient_accumulation_steps} to an update."
                )
            case events.Paused():
                return event.reason or f"Paused after step {event.step}."
            case events.EvalDone():
                which = "before training" if event.step == 0 else f"step {event.step}"
                found = (f"{said} {event.metrics[name]:.3f}" for name, said in _SCORES if name in event.metrics)
                return f"{', '.join(found)} ({which})"
            case events.AnswersScored():
                changes = (f"{name} {event.base[name]:.0%} -> {event.tuned[name]:.0%}" for name in event.tuned)
                return f"{event.rows} held-out answers, base -> tuned: {', '.join(changes)}"
            case events.LabelsScored():
                return "; ".join(map(_head_line, event.heads))
            case events.VocabularyExtended():
                return (
                    f"New tokens: {len(event.terms)}; the training rows take {event.tokens_after:,} tokens, "
                    f"{event.tokens_before:,} before."
                )
            case events.Note():
                return f"Note: {event.text}"
        return ""

    def _due(self, event: events.StepDone) -> bool:
        if time.monotonic() - self._last_step < 1 and event.step not in (1, event.total_steps):
            return False
        self._last_step = time.monotonic()
        return True


def rehearse(options: argparse.Namespace, workspace: Workspace) -> int:
    """Say what a run will take, or which batch suits the machine; as one JSON object where asked."""
    from studio.child import Progress
    from studio.rehearsal import Rehearsal, Rehearser, Suited

    config, rehearser = read_config(options.config), Rehearser(workspace)
    asked = rehearser.suit(config, larger=options.larger) if options.use_machine else rehearser.rehearse(config)
    found: Rehearsal | Suited | None = None
    with contextlib.closing(rehearser), _told() as tell:
        for reply in asked:
            if isinstance(reply, Progress):
                tell(f"{reply.doing} ...")
            elif isinstance(reply, Rehearsal | Suited):
                found = reply
    assert found is not None  # nobody else can cancel it
    _say(json.dumps(asdict(found)) if options.json else found.sentence())
    return 0


def _prompts(options: argparse.Namespace, workspace: Workspace) -> int:
    """Look for a better prompt, or say what a run was worth beside one."""
    from studio import cli_prompts

    if options.command == "prompts":
        cli_prompts.search(options.config, workspace, _say, _told, resume=options.resume)
    else:
        name = Path(options.run).name
        cli_prompts.worth(name, workspace, _say, _told, again=options.again, as_json=options.json)
    return 0


def _judge(options: argparse.Namespace, workspace: Workspace) -> int:
    """Say how fast models are, how good they are, or what one is made of."""
    from studio import cli_bench, cli_card, cli_evaluate

    to, as_json = (workspace, _say, _told), options.json
    if options.command == "bench":
        cli_bench.bench(options.config, *to, resume=options.resume, against=options.against, as_json=as_json)
    elif options.command == "evaluate":
        cli_evaluate.evaluate(options.what, *to, resume=options.resume, as_json=as_json)
    else:
        cli_card.card(options.what, *to, measure=options.measure, as_json=as_json)
    return 0


def _share(options: argparse.Namespace, workspace: Workspace) -> int:
    """Let out what a run learnt, or take in what comes from elsewhere."""
    from studio import cli_export, cli_share

    if options.command == "export":
        about: dict[str, Any] = {"to": options.to, "settings": options.set, "as_json": options.json}
        cli_export.export(options.run, options.form, workspace, _say, _told, **about)
    elif options.command == "import":
        cli_share.bring(options.what, workspace, _say, _told, base=options.base, as_json=options.json)
    else:
        order = cli_share.Order(options.repo, options.public, options.update)
        cli_share.publish(options.run, order, options.form, workspace, _say, _told, sure=options.yes)
    return 0


def _recipes(name: str | None) -> int:
    """List the recipes, or print one."""
    from studio.cli_recipes import show

    show(name, _say)
    return 0


def check(source: str, workspace: Workspace, *, as_json: bool) -> int:
    """Say how a data set reads and what is wrong with it; as one JSON object where asked.

    Raises DatasetError where nothing can be learnt from it.
    """
    from studio.data.report import lines, plain, report

    try:
        with _told() as tell:
            found = report(source, workspace, tell)
    except (StudioError, OSError):
        raise
    except Exception as error:
        raise DatasetError(
            f"{source} could not be checked ({type(error).__name__}).",
            remedy="Please report it, with the rows that it takes to see it if they may be shown.",
        ) from error
    _say(json.dumps(plain(found)) if as_json else "\n".join(lines(found)))
    return 0


def _say(text: str) -> None:
    """Print what comes from data: any letter on any terminal, and to a reader who may have seen enough."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the end of the process says so again


@contextlib.contextmanager
def _told() -> Iterator[Callable[[str], None]]:
    """A line on a terminal's stderr that is written over, and gone in the end; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    try:
        yield lambda text: print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def reset_workshop(workspace: Workspace) -> int:
    """Move everybody and their work aside, and say where to."""
    aside = Workshop(workspace).reset()
    print(f"Everything is in {aside}; delete that folder when nobody wants it." if aside else "There is no workshop.")
    return 0


def doctor(workspace: Workspace) -> int:
    """Say what this machine can do, a line each."""
    from studio.models.base import placement
    from studio.models.catalog import free_memory, hub_reachable

    place = placement("auto")
    rows = {
        "Studio": f"{__version__}, Python {sys.version.split()[0]}",
        "Device": place.device,
        "Number format": f"{place.dtype}: {place.reason}",
        "CPU cores": str(os.cpu_count()),
        "Memory": f"{free_memory() / 1e9:.1f} GB free",
        "Allocator": _allocator(place.device),
        "Disk": f"{shutil.disk_usage(workspace.root).free / 1e9:.1f} GB free in {workspace.root}",
        "QLoRA": _bitsandbytes(place.device),
        "Hub": "can be reached" if hub_reachable() else "cannot be reached: the starter model and local folders work",
    }
    for name, text in rows.items():
        print(f"{name + ':':<15}{text}")
    return 0


def _allocator(device: str) -> str:
    if device == "cuda" or sys.platform != "linux":
        return "the system's"
    if "tcmalloc" in worker_environment().get("LD_PRELOAD", ""):
        return "tcmalloc, for runs"
    return "the system's; training on a CPU is quicker with tcmalloc (on Debian: apt install libtcmalloc-minimal4)"


def _bitsandbytes(device: str) -> str:
    if importlib.util.find_spec("bitsandbytes") is None:
        return "not available: bitsandbytes is not installed"
    with contextlib.suppress(Exception):
        import bitsandbytes

        slow = "" if device == "cuda" else "; works on this device, but slowly"
        return f"bitsandbytes {bitsandbytes.__version__}{slow}"
    return "not available: bitsandbytes is installed but does not load here"
