"""What training changed, layer by layer, worked out in a process that may take the memory it needs.

A `Weigher` asks `python -m studio.weigher` with {"run"}; the replies are {"doing", "done", "total"} and one
{"anatomy"}, which is kept in the run's folder for as long as the adapter stays the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.child import Child, Progress, Reply, serve
from studio.config import RunConfig
from studio.errors import ModelError
from studio.evaluation.spectrum import Anatomy, Layer, anatomy, measured
from studio.workspace import RunFolder, Workspace

if TYPE_CHECKING:
    from studio.evaluation.updates import Updates

_FORMAT = 2  # of what is kept; raise it where Layer or its sentences change


class Weigher:
    """The parent's side. One run at a time; a second one waits for the first."""

    def __init__(self, workspace: Workspace) -> None:
        self.child = Child(
            "studio.weigher",
            workspace.root / "weigher.log",
            "The process that weighs adapters ended.",
            "Try again; if it ends again, the model does not fit in memory beside what runs now.",
        )

    def weigh(self, folder: RunFolder) -> Iterator[Progress | Anatomy]:
        """How far it is, in layers, and the Anatomy last; at once where it is known already.

        Raises ModelError where there is no adapter, or its base is not on this machine. Closing the
        iterator ends the weighing.
        """
        if known := kept(folder):
            yield known
            return
        with closing(self.child.told({"run": str(folder.path)})) as parts:
            for part in parts:
                yield part if isinstance(part, Progress) else _read(part["anatomy"])

    def close(self) -> None:
        """End the process; the next request starts another."""
        self.child.close()


def kept(folder: RunFolder) -> Anatomy | None:
    """What an earlier weighing of the same adapter found."""
    try:
        stored = json.loads(folder.anatomy.read_text(encoding="utf-8"))
        return _read(stored["anatomy"]) if stored["of"] == _stamp(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(values: dict[str, Any]) -> Anatomy:
    return replace(Anatomy(**values), layers=[Layer(**layer) for layer in values["layers"]])


def _stamp(folder: RunFolder) -> list[int]:
    """What tells one adapter from another. Raises OSError where there is none."""
    about = (folder.adapter / "adapter_model.safetensors").stat()
    return [_FORMAT, about.st_mtime_ns, about.st_size]


# -- in the process ---------------------------------------------------------------------------------


def _answer(request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
    folder = RunFolder(Path(request["run"]))
    config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8")))
    reply(doing="Loading the base model", done=0, total=0)
    found = _updates(folder, config)
    layers, tokens, ranks = [], [], set()  # of new tokens only their rows learn, to which no rank was set
    for done, (name, update) in enumerate(found.items()):
        if stop():
            return
        reply(doing=f"Weighing {name}", done=done, total=len(found))
        if each := update():
            layer = measured(name, each.shape, each.values, each.weight_norm)
            if each.rows:
                tokens.append(layer)
            else:
                layers.append(layer)
                ranks.add(each.rank)
    if layers:
        # Some starts take twice the rank that a person set: no word on rank then.
        limits = ranks == {getattr(config.method, "r", None)}
        outcome = anatomy(layers, ranks.pop() if limits else None)
    else:
        title = type(config.method).title
        told = f"{title} leaves every weight of the model as it was: what it learns is added beside them."
        outcome = Anatomy(None, [], told, "There is no update of weights to weigh.")
    outcome = replace(outcome, layers=[*tokens, *outcome.layers])
    _keep(folder, outcome)
    reply(anatomy=asdict(outcome))


def _updates(folder: RunFolder, config: RunConfig) -> Updates:
    """See `studio.evaluation.updates`: of the base as the run found it, on the CPU, for a GPU may be training."""
    from studio.models.base import load, placement
    from studio.models.catalog import is_here, locate

    if not folder.adapter.is_dir():
        raise ModelError("This run saved no adapter.", remedy="Choose a run that was trained to its end.")
    models = Workspace(folder.path.parents[1]).models
    if not is_here(config.model, models):
        raise ModelError(
            f"The base model '{config.model}' is not on this machine any more, and its weights are needed to compare.",
            remedy="Train it once more, which fetches it.",
        )
    from studio.evaluation.updates import updates
    from studio.models.vocabulary import restore

    place = replace(placement(config.number_format), device="cpu")
    located = locate(config.model, models, lambda *_: None)
    loaded = load(located, place, writes=config.objective.writes)
    restore(loaded.model, loaded.tokenizer, folder.adapter)
    return updates(loaded.model, folder.adapter)


def _keep(folder: RunFolder, outcome: Anatomy) -> None:
    """Whole or not at all; of use only to the next one who asks."""
    partial = folder.anatomy.with_suffix(".partial")
    partial.write_text(json.dumps({"of": _stamp(folder), "anatomy": asdict(outcome)}), encoding="utf-8")
    partial.replace(folder.anatomy)


def main() -> None:
    """Answer until nobody asks any more."""
    if hasattr(os, "nice"):
        os.nice(10)  # a training or the page may need the processor more
    serve(_answer)


if __name__ == "__main__":
    main()
