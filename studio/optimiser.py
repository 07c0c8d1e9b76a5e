"""Looks for a better prompt: a strategy proposes, a model answers, rewards score, and the sealed rows speak once."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from studio.data.turns import Message
from studio.errors import DatasetError, RewardError
from studio.parts import Parts, Side
from studio.prompt import ROW, Example, Prompt
from studio.prompts import Spent
from studio.rewards import Answered, Scores
from studio.speaker import Speaker
from studio.study import Scored, Study

AT_ONCE = 16  # rows asked together; what a stop may have to wait for
_WORST = -20.0  # nats a token, of an answer that does not fit behind its prompt

Tell = Callable[[str, float, float], None]  # (what is being done, calls made, calls at most); may raise to leave


class Writes(Protocol):
    """A model that may be another than the one whose prompt is looked for.

    While it waits for another machine it calls `look` a few times a second, which may raise to leave.
    """

    def __call__(self, asked: Sequence[Message], look: Callable[[], None]) -> str: ...


class Optimiser:
    """A study under way; it is the strategy's `Bench`."""

    def __init__(
        self,
        study: Study,
        rows: Parts,
        speaker: Speaker,
        goal: Callable[[Sequence[Answered]], Scores],
        writer: Writes,
        tell: Tell = lambda *_: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        if rows.key != study.binder.about["rows"]:
            raise DatasetError(
                "The rows are not those that the search began with, so its scores say nothing of them.",
                remedy="Begin a new search.",
            )
        self.study, self.rows = study, rows
        self.start = study.start
        self.pool: Sequence[Example] = rows.pool
        self.examples: Sequence[Example] = rows.search
        self.dice = random.Random(study.settings.seed)  # noqa: S311 - nothing secret
        self._speaker, self._goal, self._writer = speaker, goal, writer
        self._tell, self._stop = tell, stop
        self._lap, self._pace, self._what = time.monotonic(), 0.0, ""

    def run(self) -> None:
        """To the end; where `stop` ends the search, it is chosen among what was scored by then. Raises StudioError."""
        if not self.study.enough:
            self.study.keep({"enough": self._search()})
        self._decide()
        if not self.study.end:
            self.study.keep({"end": self.study.enough})

    def _search(self) -> str:
        """Why it ended. A reward that fails on an answer ends it too, and what was scored by then still counts."""
        self._doing("Scoring the first prompt")
        self._first_look()
        self._doing("Searching")
        try:
            self.study.settings.strategy.search(self)
        except (Spent, RewardError) as end:
            return str(end)
        return "It tried all that its strategy had to try."

    def _first_look(self) -> None:
        """At the first prompt, on all that prompts are compared on; and at how long an answer takes."""
        found = self._scored(
            "search", self.study.settings.guide, self.start, range(len(self.examples)), "the first one"
        )
        if not any(each.prompt_tokens for each in found):
            raise DatasetError(
                f"None of the {len(found)} rows to search on fits into what {self.study.settings.model} reads at once, "
                "with the prompt around it and room for the answer.",
                remedy="Choose shorter rows, a shorter prompt, or a model that reads more.",
            )
        self._scored("select", "goal", self.start, range(len(self.rows.select)))
        first = self.study.tried[self.start.key]
        self._pace = first.took["select", "goal"] / len(first.on("select", "goal"))

    def _decide(self) -> None:
        """The finalists on rows that the search has not seen, then the first and the best on the sealed ones."""
        self._doing("Choosing among the best")
        for each in self.study.finalists():
            with suppress(RewardError):  # one whose answers cannot all be scored is not chosen
                self._scored("select", "goal", each.prompt, range(len(self.rows.select)))
        best = self.study.best
        assert best
        self._doing("Opening the sealed rows")
        for prompt in (self.start, best.prompt):
            with suppress(RewardError):  # then there is no verdict, or one of the rows that both were scored on
                self._scored("sealed", "goal", prompt, range(len(self.rows.sealed)))

    # -- what a strategy asks ----------------------------------------------------------------------------

    def score(self, prompt: Prompt, places: Sequence[int] | None = None, how: str = "") -> list[float]:
        """See `Bench`."""
        wanted = range(len(self.examples)) if places is None else places
        guide = self.study.settings.guide
        return [each.score for each in self._scored("search", guide, prompt, wanted, how, ends=True)]

    def answers(self, prompt: Prompt, places: Sequence[int]) -> list[str]:
        """See `Bench`."""
        return [each.answer for each in self._scored("search", "goal", prompt, places, ends=True)]

    def write(self, asked: Sequence[Message]) -> str:
        """See `Bench`."""
        key = hashlib.sha256(json.dumps(list(asked)).encode()).hexdigest()[:16]
        if key not in self.study.written:
            self._doing("Letting a model write")
            self._look()
            self.study.keep({"asked": key, "wrote": self._writer(asked, self._look)}, {"seconds": self._since()})
            self._doing("Searching")
        return self.study.written[key]

    def _look(self) -> None:
        """At whether somebody wants it to leave, or the search is over."""
        self._doing()
        self._must_go_on(0)

    @property
    def highest(self) -> float:
        """See `Bench`."""
        if self.study.settings.guide == "likelihood":
            return 0.0
        chosen = self.study.settings.rewards.values()
        ends = [(each.weight, each.highest if each.weight > 0 else each.lowest) for each in chosen if each.weight]
        return sum(math.inf if end is None else weight * end for weight, end in ends)

    # -- how it is scored --------------------------------------------------------------------------------

    def _scored(
        self, side: Side, by: str, prompt: Prompt, places: Sequence[int], how: str = "", *, ends: bool = False
    ) -> list[Scored]:
        """What the prompt gets on these rows; what is known already is not asked again. `ends`: the budget counts."""
        key, rows = prompt.key, self.rows.of(side)
        known = self.study.tried[key].on(side, by) if key in self.study.tried else {}
        missing = [place for place in dict.fromkeys(places) if place not in known]
        for at in range(0, len(missing), AT_ONCE):
            some = missing[at : at + AT_ONCE]
            if ends:
                self._must_go_on(len(some))
            began = time.monotonic()
            found = self._asked(by, prompt, [rows[place] for place in some])
            took = round(time.monotonic() - began, 3)
            told = [
                [place, each.score, each.prompt_tokens, each.answer_tokens, each.answer]
                for place, each in zip(some, found, strict=True)
            ]
            new = {"prompt": key, "value": prompt.model_dump(mode="json"), "how": how}
            scored = {"scored": key, "side": side, "by": by, "took": took, "rows": told}
            self.study.keep(*([] if key in self.study.tried else [new]), scored, {"seconds": self._since()})
            self._doing()
        return [self.study.tried[key].on(side, by)[place] for place in places]

    def _asked(self, by: str, prompt: Prompt, examples: Sequence[Example]) -> list[Scored]:
        asked = [prompt.messages(each.fields) for each in examples]
        if by == "likelihood":
            likely = self._speaker.likelihoods(asked, [each.answer for each in examples])
            return [Scored(max(_WORST, one[0]), one[1], 0, "") if one else Scored(_WORST, 0, 0, "") for one in likely]
        said = self._speaker.answers(asked, self.study.settings.max_new_tokens)
        texts = [one.text if one else "" for one in said]  # what does not fit is no answer
        given = self._goal(
            [Answered(each.fields[ROW], text, each.answer) for each, text in zip(examples, texts, strict=True)]
        )
        return [
            Scored(score, one.prompt_tokens if one else 0, one.answer_tokens if one else 0, text)
            for score, one, text in zip(given.total, said, texts, strict=True)
        ]

    def _must_go_on(self, calls: int) -> None:
        """Raises Spent where the budget has no room for so many calls beside those of the end."""
        settings, study = self.study.settings, self.study
        if self._stop():
            raise Spent("It was stopped.")
        if study.calls + calls + self.rows.reserve > settings.calls:
            raise Spent(f"Its {settings.calls:,} calls are used up.")
        if settings.minutes is not None:
            left = 60 * settings.minutes - study.seconds - (time.monotonic() - self._lap)
            if left < self.rows.reserve * self._pace:
                if len(study.tried) < 2:
                    raise Spent(
                        f"Of its {settings.minutes:g} minutes none are left to search in: an answer takes "
                        f"{self._pace:.1f} s, and {self.rows.reserve:,} are needed for the choice and the sealed rows."
                    )
                raise Spent(f"Its {settings.minutes:g} minutes are over but for the choice and the sealed rows.")

    def _since(self) -> float:
        before, self._lap = self._lap, time.monotonic()
        return round(self._lap - before, 3)

    def _doing(self, what: str = "") -> None:
        self._what = what or self._what
        self._tell(self._what, self.study.calls, self.study.settings.calls)
