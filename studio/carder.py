"""Forward passes for an efficiency card, measured in a process of its own.

A `Carder` asks `python -m studio.carder` with {"workspace", "model", "run", "passes"}; the replies are
{"doing", "done", "total"} and one {"forward"}, fields of `studio.card.Forward`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.benchmarks.variants import this_machine
from studio.card import CONTEXT, Card, Forward, can_write, card_of
from studio.child import Child, Progress, Reply, serve, teller
from studio.processes import go_first
from studio.rehearsal import device_now
from studio.workspace import Workspace

PASSES = 20  # measured; two before them warm up


class Carder:
    """The parent's side. One card at a time, while nothing trains or is measured."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.child = Child(
            "studio.carder",
            workspace.root / "carder.log",
            "The process that measured the model ended.",
            "Free memory (the button at the top) and try again; carder.log in the workspace says why it ended.",
        )

    def measure(self, model: str = "", run: str = "", passes: int = PASSES) -> Iterator[Progress | Card]:
        """How far it is, and the card of a model or a run last, its forward pass measured.

        Raises StudioError, a RunError while a run or a benchmark has the device. Closing the iterator ends it.
        """
        card = card_of(self._workspace, model, run)
        asked = {"workspace": str(self._workspace.root), "model": model, "run": run, "passes": passes}
        with device_now(self._workspace):
            self.child.close()  # a fresh one, whose memory is this model's alone
            try:
                with closing(self.child.told(asked)) as parts:
                    for part in parts:
                        yield part if isinstance(part, Progress) else _measured(card, part["forward"])
            finally:
                self.child.close()

    def close(self) -> None:
        """End the process; the next request starts another."""
        self.child.close()


def _measured(card: Card, forward: dict[str, Any]) -> Card:
    machine = this_machine()
    return replace(card, forward=Forward(**forward, machine=machine.gpu or machine.processor))


# -- in the process ---------------------------------------------------------------------------------


def _answer(request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
    from studio.models.machine import forget_peak_memory

    tell, workspace = teller(reply, stop), Workspace(Path(request["workspace"]))
    go_first()
    forget_peak_memory()
    model = _loaded(workspace, request["model"], request["run"], tell)
    reply(forward=_passes(model, request["passes"], tell))


def _loaded(workspace: Workspace, model: str, run: str, tell: Any) -> Any:
    from studio.models.base import load, placement
    from studio.models.catalog import locate
    from studio.trained import load_trained

    if run:
        return load_trained(workspace.run(run), workspace, lambda doing: tell(doing, 0, 0)).model
    located = locate(model, workspace.models, tell)
    tell(f"Loading {located.title}", 0, 0)
    return load(located, placement(), writes=can_write(model, workspace.models)).model


def _passes(model: Any, passes: int, tell: Any) -> dict[str, Any]:
    """Over the same tokens again and again; a GPU is waited for. What `studio.card.Forward` wants but the machine."""
    import torch

    from studio.models.generate import answering, reads
    from studio.models.machine import peak_memory

    count = min(CONTEXT, reads(model) or CONTEXT)
    vocabulary = model.get_input_embeddings().num_embeddings
    ids = (torch.arange(count, device=model.device) * 7 + 3).remainder(vocabulary)[None]
    taken = []
    with answering(model, adapter=True):
        for done in range(-2, passes):
            tell("Passing forward", max(0, done), passes)
            began = time.perf_counter()
            model(input_ids=ids, use_cache=False)
            torch.get_device_module(model.device).synchronize()
            taken.append(1000 * (time.perf_counter() - began))
    measured = taken[2:]
    return {
        "device": model.device.type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "milliseconds": statistics.median(measured),
        "slowest": max(measured),
        "passes": passes,
        "peak": peak_memory(),
    }


def main() -> None:
    """Answer until nobody asks any more."""
    serve(_answer)


if __name__ == "__main__":
    main()
