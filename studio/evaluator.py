"""Evaluations, in a process that holds one model after the other.

An `Evaluator` asks `python -m studio.evaluator` with {"workspace", "evaluation": name}. The replies are
{"doing", "done", "total"}, which count requests; what came of them is in the evaluation's folder.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from studio.child import Child, Progress, Reply, Stopped, Tell, serve, teller
from studio.data.labels import target
from studio.errors import RunError
from studio.evaluate import Candidate, Contender, Evaluation, How, look_up
from studio.evaluation.harness import Harness
from studio.evaluation.passing import measure
from studio.evaluation.unseen import Item, named
from studio.trained import Awake, identity, load_trained
from studio.workspace import Workspace

AT_ONCE = 32  # rows of like length, asked together and kept together
_UNDER_WAY = ("evaluation", "Wait for its end, or leave it where it is.")  # see `Binder.alone`
Pulse = Callable[[], None]  # called at each token that is written; may raise to leave


class Evaluator:
    """The parent's side. One request at a time; the child starts at the first one and keeps the last model."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.child = Child(
            "studio.evaluator",
            workspace.root / "evaluator.log",
            "The process that evaluates models ended.",
            "Go on: what was answered is kept. If it ends again, the model does not fit in memory beside what runs "
            "now.",
        )

    def run(self, name: str) -> Iterator[Progress]:
        """Go on with an evaluation to its end.

        Raises StudioError. Closing the iterator leaves at once; to run it again goes on where it was.
        """
        with closing(self.child.told({"workspace": str(self._workspace.root), "evaluation": name})) as parts:
            yield from (part for part in parts if isinstance(part, Progress))

    def delete(self, name: str) -> None:
        """Do away with an evaluation. Raises RunError where there is none, or it is under way."""
        evaluation = look_up(self._workspace, name)
        with evaluation.binder.alone(*_UNDER_WAY):
            pass
        evaluation.binder.delete()

    def close(self) -> None:
        """Free the model's memory; the next request loads it again."""
        self.child.close()


class Answers(Protocol):
    """A candidate that is asked rows; None: it cannot read that one."""

    def likely(self, rows: Sequence[Item]) -> list[tuple[float, int] | None]:
        """(nats, tokens) of each right answer, or of the text that is read."""
        ...

    def said(self, rows: Sequence[Item], temperature: float = 0.0, seed: int = 0) -> list[str | None]:
        """The likeliest answer to each; above temperature 0 one drawn by chance, where it writes."""
        ...


def finish(
    workspace: Workspace,
    evaluation: Evaluation,
    tell: Tell = lambda *_: None,
    pulse: Pulse = lambda: None,
    awake: Awake | None = None,
) -> None:
    """Go on with an evaluation to its end, in this process. Raises StudioError.

    `tell` and `pulse` may raise to leave; `awake` keeps the model for the next one.
    """
    kept = awake or Awake()
    with evaluation.binder.alone(*_UNDER_WAY):
        harness = _harness(workspace, evaluation, tell)
        for who, contender in enumerate(evaluation.contenders):
            missing, tasks = list(_missing(evaluation, who)), evaluation.unscored(who)
            if not (missing or tasks):
                continue
            chosen = evaluation.settings.candidates[who]
            _check(workspace, chosen, contender)
            model = _candidate(workspace, chosen, contender, evaluation.settings.max_new_tokens, tell, pulse, kept)
            for place, how, rows in missing:
                tell(f"{_DOING[how]}: {contender.title}", evaluation.done, evaluation.total)
                evaluation.keep(_asked(model, evaluation, who, place, how, rows, pulse))
            for name in tasks:
                assert harness
                evaluation.keep(_scored(harness, kept, evaluation, who, name, tell, pulse))
            tell(f"Asked {contender.title}", evaluation.done, evaluation.total)
            del model  # its memory, before the next one comes


_DOING = {
    "likely": "Reading the right answers",
    "said": "Writing answers",
    "ran": "Running programs",
    "drawn": "Writing several programs",
    "tried": "Running several programs",
}


def _missing(evaluation: Evaluation, who: int) -> Iterator[tuple[int, How, list[int]]]:
    """(place of a set, what to do, places of rows): those of like length together, so that little is padded."""
    for place, part in enumerate(evaluation.sets):
        order = sorted(range(len(part.rows)), key=lambda row: _length(part.rows[row]))
        for how in evaluation.wanted(part):
            known = getattr(part, how).get(who, {})
            for at in range(0, len(order), AT_ONCE):
                if rows := [row for row in order[at : at + AT_ONCE] if row not in known]:
                    yield place, how, rows


def _length(row: Item) -> int:
    return sum(len(each["content"]) for each in row.asked) or len(row.right)


def _asked(
    model: Answers, evaluation: Evaluation, who: int, place: int, how: How, rows: list[int], pulse: Pulse
) -> dict[str, Any]:
    """A line of steps."""
    part, settings = evaluation.sets[place], evaluation.settings
    items = [part.rows[row] for row in rows]
    tasks = [each.task for each in items if each.task]  # all, where programs are run: that makes a set one of code
    found: list[tuple[Any, ...]]
    match how:
        case "likely":
            found = [each or (None, 0) for each in model.likely(items)]
        case "said":
            found = [(text,) for text in model.said(items)]
        case "drawn":
            count = settings.samples
            # Whoever goes on draws as whoever left would have.
            dice = zlib.crc32(f"{settings.seed} {place} {rows[0]}".encode())
            texts = model.said([each for each in items for _ in range(count)], settings.temperature, dice)
            said = [text or "" for text in texts]
            found = [(said[at : at + count],) for at in range(0, len(said), count)]
        case "ran":
            ran = measure(tasks, [[part.said[who][row] or ""] for row in rows], lambda *_: pulse())
            found = [(each.why, each.detail) for (each,) in ran]
        case "tried":
            ran = measure(tasks, [part.drawn[who][row] for row in rows], lambda *_: pulse())
            found = [([each.why for each in some],) for some in ran]
    return {how: who, "set": place, "rows": [[row, *told] for row, told in zip(rows, found, strict=True)]}


def _harness(workspace: Workspace, evaluation: Evaluation, tell: Tell) -> Harness | None:
    """Its tasks of lm-eval, ready; None where none is left to be asked. Raises StudioError."""
    if not any(evaluation.unscored(who) for who in range(len(evaluation.contenders))):
        return None
    tell("Making the tasks ready", 0, 0)
    settings = evaluation.settings
    found = Harness(evaluation.tasks, settings.num_fewshot, settings.limit, workspace.cache / "tasks")
    sizes = {each.name: found.rows(each.name) for each in evaluation.tasks}
    evaluation.keep(*({"counted": each, "rows": size} for each, size in sizes.items() if each not in evaluation.sizes))
    return found


def _scored(
    harness: Harness, awake: Awake, evaluation: Evaluation, who: int, name: str, tell: Tell, pulse: Pulse
) -> dict[str, Any]:
    """A line of steps."""
    doing, done, total = f"{name}: {evaluation.contenders[who].title}", evaluation.done, evaluation.total

    def told(share: float) -> None:
        tell(doing, done + share * evaluation.sizes[name], total)

    told(0.0)
    return {"scored": who, "task": name, "result": asdict(harness.ask(name, awake.model, awake.tokenizer, pulse, told))}


def _check(workspace: Workspace, candidate: Candidate, contender: Contender) -> None:
    """Raise RunError where the run has learnt more since it was first asked."""
    if identity(workspace, candidate.model, candidate.run, tuned=candidate.tuned) != contender.identity:
        raise RunError(
            f"{contender.title} was trained on since this evaluation began.", remedy="Begin a new evaluation."
        )


def _candidate(
    workspace: Workspace,
    candidate: Candidate,
    contender: Contender,
    max_new_tokens: int,
    tell: Tell,
    pulse: Pulse,
    awake: Awake,
) -> Answers:
    if contender.head:
        awake.model, awake.tokenizer, awake.who = None, None, ""  # the old model's memory first
        trained = load_trained(workspace.run(candidate.run), workspace, lambda doing: tell(doing, 0, 0))
        return _Labeller(trained, contender.head, pulse)
    awake.load(workspace, candidate.model, candidate.run, tell, tuned=candidate.tuned)
    return _Writer(awake.model, awake.tokenizer, max_new_tokens, pulse)


class _Writer:
    """A model that writes text."""

    def __init__(self, model: Any, tokenizer: Any, max_new_tokens: int, pulse: Pulse) -> None:
        from studio.speaker import ModelSpeaker

        self._speaker, self._longest, self._pulse = ModelSpeaker(model, tokenizer, pulse), max_new_tokens, pulse

    def likely(self, rows: Sequence[Item]) -> list[tuple[float, int] | None]:
        from studio.evaluation.likelihood import read_texts

        if not rows[0].asked:
            texts = [each.right for each in rows]
            return [*read_texts(self._speaker.model, self._speaker.tokenizer, texts, self._pulse)]
        found = self._speaker.likely([each.asked for each in rows], [each.right for each in rows])
        return [(each.nats, each.tokens) if each else None for each in found]

    def said(self, rows: Sequence[Item], temperature: float = 0.0, seed: int = 0) -> list[str | None]:
        from studio.models.generate import seeded

        with seeded(self._speaker.model, seed):
            found = self._speaker.answers([each.asked for each in rows], self._longest, temperature)
        return [each.text if each else None for each in found]


class _Labeller:
    """A model with a head that names labels, or a number; its answer is their names, and one token long."""

    def __init__(self, trained: Any, head: str, pulse: Pulse) -> None:
        self._trained, self._pulse = trained, pulse
        self._head = next(each for each in trained.model.specs if each.name == head)

    def _predicted(self, rows: Sequence[Item]) -> list[Any]:
        """What the head says of each row; see `studio.models.heads.predict`."""
        from studio.models.heads import predict

        self._pulse()
        texts, most = [each.asked[-1]["content"] for each in rows], self._trained.config.objective.max_length
        return [each[self._head.name] for each in predict(self._trained.model, self._trained.tokenizer, texts, most)]

    def likely(self, rows: Sequence[Item]) -> list[tuple[float, int] | None]:
        """Of a class its cross-entropy; None: the head does not know it. Several labels, or a number, have none."""
        found: list[tuple[float, int] | None] = []
        for row, each in zip(rows, self._predicted(rows), strict=True):
            known = target(self._head, row.right, "")
            share = dict(each)[self._head.labels[int(known[0])]] if known else None
            found.append(None if share is None else (-math.log(max(share, 1e-12)), 1))
        return found

    def said(self, rows: Sequence[Item], temperature: float = 0.0, seed: int = 0) -> list[str | None]:
        found = self._predicted(rows)
        if self._head.kind == "number":
            return [f"{value:.6g}" for value in found]
        if self._head.kind == "labels":
            return [named(label for label, share in each if share > 0.5) for each in found]
        return [each[0][0] for each in found]


# -- in the process ------------------------------------------------------------------------------------


class _Evaluations:
    """One after the other, with the model that was asked last."""

    def __init__(self) -> None:
        self._awake = Awake()

    def answer(self, request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
        def pulse() -> None:
            if stop():
                raise Stopped

        workspace = Workspace(Path(request["workspace"]))
        evaluation = look_up(workspace, request["evaluation"])
        finish(workspace, evaluation, teller(reply, stop), pulse, self._awake)


def main() -> None:
    """Answer until nobody asks any more."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    serve(_Evaluations().answer)


if __name__ == "__main__":
    main()
