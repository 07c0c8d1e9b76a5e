"""What a model will see of rows, asked of a process that holds tokenizers and no models.

An `Inspector` asks `python -m studio.inspector`, with {"what": "see" | "warnings" | "lengths" | "terms", "model", ...};
the replies are {"doing", "done", "total"} and one {"result"}.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from studio.child import Child, Progress, Reply, Stopped, serve
from studio.data.edited import edited_rows, sendable
from studio.data.lengths import Histogram, Lengths, Summary
from studio.data.seen import Piece, Seen, see, warnings
from studio.data.templates import Mapping
from studio.data.vocabulary import Proposal, Term, propose, texts_of
from studio.errors import ModelError
from studio.models.hub import HubUnreachable, HuggingFaceHub
from studio.workspace import Workspace

_BATCH = 256  # rows tokenised at once
_TOKENIZERS = 2  # kept in memory
_ABSENT = "is not on this machine yet, and its tokenizer is needed to show what it sees."
_FETCH = "Fetch the model, or train it once, which fetches it too."

Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """How long all rows are, and what the first ones give reason to warn of."""

    lengths: Summary
    warnings: list[str]


class Inspector:
    """The parent's side. One request at a time; `see` waits until a `lengths` has ended or was closed.

    Every request raises ModelError where the model is not on this machine, unless `fetch` is true, where it
    has no chat template and `chat_template` is 'auto', and where its tokenizer cannot be used.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._models = workspace.models
        self.child = Child(
            "studio.inspector",
            workspace.root / "inspector.log",
            "The process that counts tokens ended.",
            "Try again; if it ends again, inspector.log in the workspace says why.",
        )

    def see(
        self,
        model: str,
        row: Row,
        mapping: Mapping,
        max_length: int,
        chat_template: str = "auto",
        *,
        loss_on: str = "answers",
        fetch: bool = False,
    ) -> Seen:
        """One row's tokens; see `studio.data.seen.see`."""
        request = {"what": "see", "rows": [sendable(row)], "max_length": max_length, "loss_on": loss_on}
        found = self._result(request | self._of(model, mapping, chat_template, fetch))
        return Seen(**found | {"pieces": [Piece(*piece) for piece in found["pieces"]]})

    def warnings(
        self, model: str, rows: list[Row], mapping: Mapping, chat_template: str = "auto", *, fetch: bool = False
    ) -> list[str]:
        """What is likely to spoil training on such rows; see `studio.data.seen.warnings`."""
        request = {"what": "warnings", "rows": [sendable(row) for row in rows]}
        return self._result(request | self._of(model, mapping, chat_template, fetch))

    def lengths(
        self,
        model: str,
        rows_file: Path | None,
        mapping: Mapping,
        max_length: int,
        chat_template: str = "auto",
        *,
        loss_on: str = "answers",
        extra: dict[int, Row | None] | None = None,
        fetch: bool = False,
    ) -> Iterator[Progress | Result]:
        """Counts the tokens of all rows of a Parquet file; the Result comes last.

        A row's id is its position. `extra` overrides rows by id: another row, or None for a deleted one;
        ids beyond the file's end are new rows. Raises DatasetError where the file or a column cannot be
        read. Closing the iterator ends the counting.
        """
        request = {
            "what": "lengths",
            "file": str(rows_file) if rows_file else None,
            "extra": [[row_id, row and sendable(row)] for row_id, row in sorted((extra or {}).items())],
            "max_length": max_length,
            "loss_on": loss_on,
        }
        with closing(self.child.told(request | self._of(model, mapping, chat_template, fetch))) as parts:
            for part in parts:
                yield part if isinstance(part, Progress) else _counted(**part["result"])

    def terms(
        self, model: str, rows_file: Path, mapping: Mapping, most: int, min_count: int, *, fetch: bool = False
    ) -> Iterator[Progress | Proposal]:
        """What `studio.data.vocabulary.propose` finds in a Parquet file's rows; the Proposal comes last."""
        request = {"what": "terms", "file": str(rows_file), "most": most, "min_count": min_count}
        # No turn is rendered, so that a model need not have a template of its own.
        with closing(self.child.told(request | self._of(model, mapping, "none", fetch))) as parts:
            for part in parts:
                yield part if isinstance(part, Progress) else _proposal(**part["result"])

    def close(self) -> None:
        """Free the tokenizers' memory; the next request loads them again."""
        self.child.close()

    def _of(self, model: str, mapping: Mapping, chat_template: str, fetch: bool) -> dict[str, Any]:
        return {
            "model": model,
            "models": str(self._models),
            "mapping": mapping.plain(),
            "chat_template": chat_template,
            "fetch": fetch,
        }

    def _result(self, request: dict[str, Any]) -> Any:
        *_, last = self.child.ask(request)
        return last["result"]


def _counted(lengths: dict[str, Any], warnings: list[str]) -> Result:
    parts = {name: Histogram(**part) for name, part in lengths["parts"].items()}
    return Result(Summary(**lengths | {"total": Histogram(**lengths["total"]), "parts": parts}), warnings)


def _proposal(terms: list[dict[str, Any]], **counts: Any) -> Proposal:
    return Proposal([Term(**each) for each in terms], **counts)


# -- the child --------------------------------------------------------------------------------------


class _HubLeftAlone(HuggingFaceHub):
    """Knows what was fetched earlier, and asks the network nothing."""

    def reachable(self) -> bool:
        return False

    def files(self, model: str) -> NoReturn:
        raise HubUnreachable(f"'{model}' {_ABSENT}", remedy=_FETCH)


def _answer(request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
    def progress(doing: str, done: float, total: float) -> None:
        if stop():
            raise Stopped
        reply(doing=doing, done=done, total=total)

    mapping = Mapping.parse(request["mapping"])
    tokenizer = _prepared(request, mapping, progress)
    reply(result=_ANSWERS[request["what"]](request, mapping, tokenizer, progress))


def _see(request: dict[str, Any], mapping: Mapping, tokenizer: Any, _: Any) -> dict[str, Any]:
    seen = see(request["rows"][0], mapping, tokenizer, request["max_length"], request["loss_on"])
    pieces = [[piece.text, piece.token_id, piece.state, piece.special] for piece in seen.pieces]
    return {**vars(seen), "pieces": pieces}


def _warnings(request: dict[str, Any], mapping: Mapping, tokenizer: Any, _: Any) -> list[str]:
    return warnings(tokenizer, mapping, request["rows"])


def _lengths(request: dict[str, Any], mapping: Mapping, tokenizer: Any, progress: Any) -> dict[str, Any]:
    file = Path(request["file"]) if request["file"] else None
    total, rows = edited_rows(file, dict(request["extra"]), list(mapping.columns.values()))
    adding, said, done = Lengths(mapping, tokenizer, request["max_length"], request["loss_on"]), None, 0
    while batch := list(islice(rows, _BATCH)):
        if said is None:
            said = warnings(tokenizer, mapping, [row for _, row in batch])
        adding.add(batch)
        done += len(batch)
        progress("Counting tokens", done, total)
    return {"lengths": asdict(adding.summary()), "warnings": said or []}


def _terms(request: dict[str, Any], mapping: Mapping, tokenizer: Any, progress: Any) -> dict[str, Any]:
    _, rows = edited_rows(Path(request["file"]), {}, list(mapping.columns.values()))
    texts = texts_of((row for _, row in rows), mapping)
    told = functools.partial(progress, "Looking for terms")
    return asdict(propose(texts, tokenizer, request["most"], request["min_count"], told))


_ANSWERS = {"see": _see, "warnings": _warnings, "lengths": _lengths, "terms": _terms}


def _prepared(request: dict[str, Any], mapping: Mapping, progress: Callable[[str, float, float], None]) -> Any:
    """A tokenizer with the request's chat template, as `NextToken.prepare` would set it. Raises ModelError."""
    from studio.data.rendering import use_template
    from studio.models.catalog import locate

    def refuse(*_: Any) -> NoReturn:
        raise ModelError(f"The model '{request['model']}' {_ABSENT}", remedy=_FETCH)

    ways = (progress, None) if request["fetch"] else (refuse, _HubLeftAlone())
    located = locate(request["model"], Path(request["models"]), *ways)
    newest = max((file.stat().st_mtime_ns for file in located.path.iterdir()), default=0) if located.path else 0
    tokenizer = copy.copy(_tokenizer(located.path, located.title, newest))  # its template must not stay
    return tokenizer if mapping.format == "text" else use_template(tokenizer, request["chat_template"])


@functools.lru_cache(maxsize=_TOKENIZERS)
def _tokenizer(path: Path | None, title: str, _newest: int) -> Any:
    """`_newest` is when the folder's newest file was written: another tokenizer may have come there."""
    from studio.models import base
    from studio.models.tiny import tiny_tokenizer

    return tiny_tokenizer() if path is None else base.load_tokenizer(path, title)


def main() -> None:
    """Answer until nobody asks any more."""
    serve(_answer)


if __name__ == "__main__":
    main()
