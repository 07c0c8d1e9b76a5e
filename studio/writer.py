"""A model in a process of its own that answers many prompts, or says which of a few words it would answer with.

A `Writer` asks `python -m studio.writer` with {"workspace", "model" or "run", "asked": conversations} and either
{"max_new_tokens"} or {"words"}. The replies are {"phase"} and {"found": [[place, text or probabilities], ...]}.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.child import Child, Reply, serve
from studio.trained import Awake
from studio.workspace import Workspace

BATCH = 8  # conversations at once

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Voice:
    """Who answers: a model of the catalog, or what a run made of one."""

    model: str = ""  # as a config names it; empty for a run's
    run: str = ""  # its id


@dataclass(frozen=True)
class Found:
    """What came of the conversation at `place`; None: it is longer than the model reads, or its template refuses it."""

    place: int
    value: Any


Parts = Generator[str | list[Found], None, None]


class Writer:
    """The parent's side. One request at a time; the child starts at the first one and keeps the last model."""

    def __init__(self, workspace: Workspace) -> None:
        self._root = workspace.root
        self.child = Child(
            "studio.writer",
            workspace.root / "writer.log",
            "The process that writes answers ended.",
            "Go on: what was written is kept. If it ends again, the model does not fit in memory beside what runs now.",
        )

    def write(self, voice: Voice, asked: Sequence[Messages], max_new_tokens: int) -> Parts:
        """The likeliest answer to each conversation, a few at a time, between words on what it is busy with.

        Raises StudioError. Closing the iterator ends the writing.
        """
        return self._ask(voice, asked, {"max_new_tokens": max_new_tokens})

    def choose(self, voice: Voice, asked: Sequence[Messages], words: Sequence[str]) -> Parts:
        """The same with the probability of each of `words` as the answer; see `choose_batch`."""
        return self._ask(voice, asked, {"words": list(words)})

    def _ask(self, voice: Voice, asked: Sequence[Messages], how: dict[str, Any]) -> Parts:
        request = {"workspace": str(self._root), **asdict(voice), "asked": list(asked), **how}
        with closing(self.child.ask(request)) as replies:
            for reply in replies:
                if "found" in reply:
                    yield [Found(place, value) for place, value in reply["found"]]
                else:
                    yield reply["phase"]

    def close(self) -> None:
        """Free the model's memory; the next request loads it again."""
        self.child.close()


# -- in the process ---------------------------------------------------------------------------------


class _Model:
    """The one that was asked last."""

    def __init__(self) -> None:
        self._awake = Awake()

    def answer(self, request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
        workspace = Workspace(Path(request["workspace"]))
        self._awake.load(workspace, request["model"], request["run"], lambda phase, *_: reply(phase=phase))
        asked = request["asked"]
        lengths = [self._length(messages, request.get("max_new_tokens", 1)) for messages in asked]
        if refused := [place for place, length in enumerate(lengths) if length is None]:
            reply(found=[[place, None] for place in refused])
        # Those of like length together, so that little is padded.
        order = sorted((length, place) for place, length in enumerate(lengths) if length is not None)
        for at in range(0, len(order), BATCH):
            places = [place for _, place in order[at : at + BATCH]]
            values = self._batch([asked[place] for place in places], request, stop)
            if stop():
                return
            reply(found=[list(each) for each in zip(places, values, strict=True)])

    def _batch(self, asked: list[Messages], request: dict[str, Any], stop: Callable[[], bool]) -> list[Any]:
        from studio.models.choosing import choose_batch
        from studio.models.generate import answer_batch

        if words := request.get("words"):
            return choose_batch(self._awake.model, self._awake.tokenizer, asked, words, batch_size=BATCH)
        most = request["max_new_tokens"]
        return answer_batch(
            self._awake.model,
            self._awake.tokenizer,
            asked,
            max_new_tokens=most,
            adapter=True,
            batch_size=BATCH,
            stop=stop,
        )

    def _length(self, messages: Messages, max_new_tokens: int) -> int | None:
        """In letters; None where the model cannot be asked that."""
        from jinja2 import TemplateError

        from studio.models.generate import fits

        try:
            if not fits(self._awake.model, self._awake.tokenizer, messages, max_new_tokens):
                return None
        except TemplateError:
            return None
        return sum(len(message["content"]) for message in messages)


def main() -> None:
    """Answer until nobody asks any more."""
    serve(_Model().answer)


if __name__ == "__main__":
    main()
