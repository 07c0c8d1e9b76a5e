"""The engines that answer the page, each with a process of its own for what takes memory."""

from __future__ import annotations

import typing
from dataclasses import dataclass, fields
from typing import Annotated

from studio.bencher import Bencher
from studio.carder import Carder
from studio.child import Child
from studio.evaluator import Evaluator
from studio.examiner import Examiner
from studio.exporter import Exporter
from studio.importer import Importer
from studio.inspector import Inspector
from studio.previewer import Previewer
from studio.prompter import Prompter
from studio.publish import Publisher
from studio.querier import Querier
from studio.rehearsal import Rehearser
from studio.responder import Responder
from studio.weigher import Weigher
from studio.workspace import Workspace
from studio.writer import Writer


@dataclass(frozen=True, kw_only=True)
class Engines:
    """One of each over a workspace. Their processes start when they are asked first.

    Beside each stands what its process holds memory for, as the meters say it.
    """

    responder: Annotated[Responder, "chat"]
    inspector: Annotated[Inspector, "tokens"]
    examiner: Annotated[Examiner, "checks"]
    querier: Annotated[Querier, "queries"]
    weigher: Annotated[Weigher, "adapter"]
    rehearser: Annotated[Rehearser, "rehearsal"]
    previewer: Annotated[Previewer, "rewards"]
    writer: Annotated[Writer, "answers"]
    prompter: Annotated[Prompter, "prompts"]
    evaluator: Annotated[Evaluator, "evaluations"]
    bencher: Annotated[Bencher, "benchmark"]
    carder: Annotated[Carder, "card"]
    exporter: Annotated[Exporter, "export"]
    importer: Annotated[Importer, "import"]
    publisher: Annotated[Publisher, "publish"]

    def children(self) -> dict[str, Child]:
        """Their processes, by what they hold memory for."""
        hints = typing.get_type_hints(Engines, include_extras=True)
        return {hint.__metadata__[0]: getattr(self, name).child for name, hint in hints.items()}

    def close(self) -> None:
        """End the processes."""
        for each in fields(Engines):
            getattr(self, each.name).close()


def over(workspace: Workspace) -> Engines:
    """All of them over this workspace."""
    return Engines(**{name: kind(workspace) for name, kind in typing.get_type_hints(Engines).items()})
