"""A child process that keeps one model in memory and answers for it.

The page never imports torch: a `Responder` here talks to `python -m studio.responder` over two pipes,
one JSON object a line. Requests: {"id", "run", "messages", "adapter", ...} and {"stop": id}. Replies:
{"id", "phase"}, {"id", "text"}, {"id", "error": [problem, remedy]} and {"id", "done": true}.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from studio.errors import ModelError, explain
from studio.jobs import worker_environment
from studio.workspace import RunFolder, Workspace

IDLE_SECONDS = 900.0  # after which the child gives its memory back


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


class Responder:
    """The parent's side. One answer at a time; the child starts at the first question."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0

    def ask(
        self, folder: RunFolder, messages: list[dict[str, str]], *, adapter: bool, sampling: Sampling
    ) -> Iterator[Piece]:
        """The answer of a run's model, with its adapter or without, piece by piece.

        Raises StudioError. Closing the iterator ends the answer.
        """
        with self._turn:
            process = self._start()
            self._asked += 1
            asked = self._asked
            request = {"id": asked, "run": str(folder.path), "messages": messages, "adapter": adapter}
            try:
                self._send(process, request | asdict(sampling))
                yield from self._replies(process, asked)
            except (OSError, ValueError):
                self._process = None
                raise ModelError(
                    "The process that holds the chat's model ended.",
                    remedy="Ask again; if it ends again, the model does not fit in memory beside what runs now.",
                ) from None

    def _replies(self, process: subprocess.Popen[bytes], asked: int) -> Iterator[Piece]:
        assert process.stdout is not None
        finished = False
        try:
            while not finished:
                reply = json.loads(process.stdout.readline() or b"x")  # b"x": the pipe's end, a ValueError
                if reply["id"] != asked:
                    continue
                finished = "done" in reply or "error" in reply
                if "error" in reply:
                    raise ModelError(reply["error"][0], remedy=reply["error"][1])
                if "phase" in reply:
                    yield Piece("phase", reply["phase"])
                if "text" in reply:
                    yield Piece("text", reply["text"])
        except GeneratorExit:
            self._send(process, {"stop": asked})
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            with (self.workspace.root / "chat.log").open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "studio.responder"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=worker_environment(),
                    start_new_session=True,
                )
        return self._process

    @staticmethod
    def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()

    def close(self) -> None:
        """Free the model's memory; the next question loads it again."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


# -- the child --------------------------------------------------------------------------------------


class _Child:
    def __init__(self, replies: IO[bytes]) -> None:
        self.replies = replies
        self.requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.stopped: set[int] = set()
        self._loaded_for: tuple[str, float] | None = None
        self._model: Any = None
        self._tokenizer: Any = None

    def listen(self) -> None:
        """Runs in a thread, so that a stop is heard while an answer is being written."""
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "stop" in message:
                self.stopped.add(message["stop"])
            else:
                self.requests.put(message)
        self.requests.put(None)

    def serve(self) -> None:
        threading.Thread(target=self.listen, daemon=True).start()
        while True:
            try:
                request = self.requests.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                return
            if request is None:
                return
            try:
                self._answer(request)
                self._reply(request, done=True)
            except BaseException as error:
                traceback.print_exc()
                said = explain(error)
                self._reply(request, error=[said.problem, said.remedy])

    def _reply(self, request: dict[str, Any], **values: Any) -> None:
        self.replies.write(json.dumps({"id": request["id"], **values}).encode() + b"\n")
        self.replies.flush()

    def _answer(self, request: dict[str, Any]) -> None:
        from studio.models.generate import stream

        self._load(request)
        sampling = {key: request[key] for key in Sampling.__dataclass_fields__}
        pieces = stream(
            self._model,
            self._tokenizer,
            request["messages"],
            adapter=request["adapter"],
            stop=lambda: request["id"] in self.stopped,
            **sampling,
        )
        for text in pieces:
            self._reply(request, text=text)

    def _load(self, request: dict[str, Any]) -> None:
        """The run's base and adapter, unless they are what is loaded already."""
        folder = RunFolder(Path(request["run"]))
        if not folder.adapter.is_dir():
            raise ModelError("This run saved no adapter.", remedy="Choose a run that was trained to its end.")
        key = (str(folder.path), folder.adapter.stat().st_mtime)
        if key == self._loaded_for:
            return
        self._reply(request, phase="Waking the model")
        from studio.config import RunConfig
        from studio.data.tokens import use_template
        from studio.models.adapter import attach_saved
        from studio.models.base import load, placement
        from studio.models.catalog import locate

        config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8")))
        workspace = Workspace(folder.path.parents[1])
        self._model = self._loaded_for = None  # the old model's memory first
        located = locate(config.model, workspace.models, lambda *_: None)
        self._reply(request, phase=f"Loading {located.title}")
        loaded = load(located, placement(config.training.dtype), config.method.quantization())
        use_template(loaded.tokenizer, getattr(config.objective, "chat_template", "auto"))
        self._model = attach_saved(loaded.model, folder.adapter).eval()
        self._tokenizer = loaded.tokenizer
        self._loaded_for = key


def main() -> None:
    """Answer until nobody asks any more."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not be taken for a reply
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _Child(replies).serve()


if __name__ == "__main__":
    main()
