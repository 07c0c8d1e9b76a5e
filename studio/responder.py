"""The chat's model, in a process of its own that keeps one in memory and answers for it.

A `Responder` asks `python -m studio.responder`: with {"run", "messages", "adapter", ...} for a conversation, and
the replies are {"phase"} and {"text"}; with {"run", "label"} for the labels of a text: {"phase"} and {"labels"}.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from studio.child import Child, Reply, serve
from studio.trained import Trained, load_trained
from studio.workspace import RunFolder, Workspace


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. Temperature 0 takes the likeliest token each time."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Piece:
    """Part of a reply: what the child is busy with, or a stretch of the answer."""

    kind: Literal["phase", "text"]
    text: str


Labels = dict[str, list[tuple[str, float]] | float]  # head -> its labels with their probabilities, or a number


class Responder:
    """The parent's side. One answer at a time; the child starts at the first question."""

    def __init__(self, workspace: Workspace) -> None:
        self.child = Child(
            "studio.responder",
            workspace.root / "chat.log",
            "The process that holds the chat's model ended.",
            "Ask again; if it ends again, the model does not fit in memory beside what runs now.",
        )

    def ask(
        self, folder: RunFolder, messages: list[dict[str, str]], *, adapter: bool, sampling: Sampling
    ) -> Iterator[Piece]:
        """The answer of a run's model, with its adapter or without, piece by piece.

        Raises StudioError. Closing the iterator ends the answer.
        """
        request = {"run": str(folder.path), "messages": messages, "adapter": adapter}
        with contextlib.closing(self.child.ask(request | asdict(sampling))) as replies:
            for reply in replies:
                kind: Literal["phase", "text"] = "phase" if "phase" in reply else "text"
                yield Piece(kind, reply[kind])

    def label(self, folder: RunFolder, text: str) -> Iterator[str | Labels]:
        """What a run's model, with its heads, says of a text: what it is busy with, then the labels.

        Raises StudioError.
        """
        with contextlib.closing(self.child.ask({"run": str(folder.path), "label": text})) as replies:
            for reply in replies:
                yield reply["phase"] if "phase" in reply else reply["labels"]

    def close(self) -> None:
        """Free the model's memory; the next question loads it again."""
        self.child.close()


# -- the child --------------------------------------------------------------------------------------


class _Model:
    """The run's model that was asked last."""

    def __init__(self) -> None:
        self._loaded_for: tuple[str, float] | None = None
        self._trained: Trained | None = None

    def answer(self, request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
        trained = self._load(request, reply)
        (self._label if "label" in request else self._write)(trained, request, reply, stop)

    def _label(self, trained: Trained, request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
        from studio.models.heads import predict

        max_length = trained.config.objective.max_length
        for labels in predict(trained.model, trained.tokenizer, [request["label"]], max_length, stop=stop):
            reply(labels=labels)

    def _write(self, trained: Trained, request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
        from studio.models.generate import stream

        sampling = {key: request[key] for key in Sampling.__dataclass_fields__}
        pieces = stream(
            trained.model,
            trained.tokenizer,
            request["messages"],
            adapter=request["adapter"],
            stop=stop,
            **sampling,
        )
        for text in pieces:
            reply(text=text)

    def _load(self, request: dict[str, Any], reply: Reply) -> Trained:
        """The run's base and adapter, unless they are what is loaded already."""
        folder = RunFolder(Path(request["run"]))
        key = (str(folder.path), folder.adapter.stat().st_mtime if folder.adapter.is_dir() else 0.0)
        if self._trained is not None and key == self._loaded_for:
            return self._trained
        reply(phase="Waking the model")
        self._trained = self._loaded_for = None  # the old model's memory first
        workspace = Workspace(folder.path.parents[1])
        self._trained = load_trained(folder, workspace, lambda phase: reply(phase=phase))
        self._loaded_for = key
        return self._trained


def main() -> None:
    """Answer until nobody asks any more."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    serve(_Model().answer)


if __name__ == "__main__":
    main()
