"""Two models side by side, which of the two stays hidden until a person has said whose answer is better.

The answers of the first model are written to all prompts, then those of the second: one is in memory at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from studio.binder import Binder, create
from studio.constitution import preference_rows
from studio.errors import ConfigError, DatasetError
from studio.evaluation.intervals import wilson
from studio.workspace import Workspace
from studio.writer import Found, Messages, Voice, Writer

Vote = Literal["left", "right", "tie", "bad"]  # which answer is better; 'bad': neither is any good
VOTES: dict[str, Vote] = {vote: vote for vote in get_args(Vote)}
SIDES = ("left", "right")


@dataclass
class Round:
    """One prompt with both answers."""

    messages: Messages
    first_left: bool  # whether the first model's answer stands on the left; drawn when the arena was made
    answers: list[str | None] = field(default_factory=lambda: [None, None])  # of both models; None: none
    asked: list[bool] = field(
        default_factory=lambda: [False, False]
    )  # which of them; one may be unable to read so much
    vote: Vote | None = None

    @property
    def votable(self) -> bool:
        """Whether there are two answers that differ; equal ones ask nothing of a person."""
        return None not in self.answers and self.answers[0] != self.answers[1]

    def on(self, side: str) -> int:
        """Whose answer stands there: 0 the first model's, 1 the second's."""
        return int((side == "left") != self.first_left)

    @property
    def winner(self) -> int | None:
        """Whose answer was preferred; None: neither was."""
        return self.on(self.vote) if self.vote in SIDES else None


class Arena:
    """One arena on disk. A line is a row's prompt, one of its answers, or a vote."""

    def __init__(self, binder: Binder) -> None:
        self.binder = binder
        about = binder.about
        self.title: str = about["title"]
        self.voices = [Voice(**voice) for voice in about["voices"]]
        self.names: list[str] = about["names"]  # of the models, as people call them
        self.max_new_tokens: int = about["max_new_tokens"]

    def rounds(self) -> list[Round]:
        """What is known by now. Of two votes on one prompt the first counts: it was the blind one."""
        found: dict[int, Round] = {}
        for step in self.binder:
            number = step["row"]
            if "messages" in step:
                found[number] = Round(step["messages"], step["first_left"])
            elif "answer" in step:
                found[number].answers[step["of"]] = step["answer"]
                found[number].asked[step["of"]] = True
            else:
                found[number].vote = found[number].vote or step["vote"]
        return [each for _, each in sorted(found.items())]

    def vote(self, number: int, vote: str) -> Round:
        """Keep a vote, and return the prompt with it. Raises ConfigError where there is nothing to vote on."""
        rounds = self.rounds()
        if vote not in VOTES or not 0 <= number < len(rounds) or not rounds[number].votable:
            raise ConfigError("There is nothing to vote on here.", remedy="Choose the arena again.")
        if rounds[number].vote is None:
            self.binder.append({"row": number, "vote": vote})
            rounds[number].vote = VOTES[vote]
        return rounds[number]

    def go_on(self, writer: Writer) -> Iterator[tuple[str, int, int]]:
        """(what is being done, answers there are, answers there will be) until all are written.

        Each batch is on disk before the next is asked for. Closing the iterator ends it. Raises StudioError.
        """
        rounds = self.rounds()
        lacking = [[n for n, each in enumerate(rounds) if not each.asked[of]] for of in range(len(self.voices))]
        total = len(self.voices) * len(rounds)
        done = total - sum(map(len, lacking))
        for of, numbers in enumerate(lacking):
            if not numbers:
                continue
            asked = [rounds[number].messages for number in numbers]
            with closing(writer.write(self.voices[of], asked, self.max_new_tokens)) as replies:
                for reply in replies:
                    if not isinstance(reply, str):
                        self._keep(of, numbers, reply)
                        done += len(reply)
                    doing = reply if isinstance(reply, str) else "Answering"
                    yield f"{self.names[of]}: {doing}", done, total

    def _keep(self, of: int, numbers: list[int], found: list[Found]) -> None:
        self.binder.append(*({"row": numbers[each.place], "of": of, "answer": each.value} for each in found))


def begin(
    workspace: Workspace, title: str, voices: Sequence[tuple[Voice, str]], prompts: Sequence[Messages], most: int
) -> Arena:
    """A new arena of two models, each with its name, whose answers are at most so many tokens long.

    Raises ConfigError for the same model twice, DatasetError where there are no prompts.
    """
    if len({voice for voice, _ in voices}) != 2:
        raise ConfigError("A model cannot be told from itself.", remedy="Choose two different ones.")
    if not prompts:
        raise DatasetError("There are no prompts.", remedy="Choose a data set that has some, or write them.")
    about = {
        "title": title,
        "voices": [asdict(voice) for voice, _ in voices],
        "names": [name for _, name in voices],
        "max_new_tokens": most,
    }
    binder = create(workspace.arenas, title, about)
    binder.append(
        *(
            {"row": number, "messages": messages, "first_left": bool(secrets.randbelow(2))}
            for number, messages in enumerate(prompts)
        )
    )
    return Arena(binder)


# -- what the votes say --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """Votes so far."""

    wins: tuple[int, int]  # of the first model and of the second
    ties: int
    bad: int  # votes that neither answer is any good
    left: int  # votes for the answer on the left, whosever it was
    interval: tuple[float, float]  # in which the first model's share of wins lies, with 95 % confidence

    @property
    def decided(self) -> int:
        return sum(self.wins)

    @property
    def votes(self) -> int:
        return self.decided + self.ties + self.bad


def score(rounds: Sequence[Round]) -> Score:
    """Ties and votes that both are bad decide nothing: they are counted, and are no part of the share."""
    winners = [each.winner for each in rounds if each.winner is not None]
    said = [each.vote for each in rounds]
    wins = winners.count(0), winners.count(1)
    return Score(wins, said.count("tie"), said.count("bad"), said.count("left"), wilson(wins[0], sum(wins)))


def verdict(found: Score, names: Sequence[str]) -> str:
    """Who wins, or that nobody can tell yet."""
    if not found.decided:
        return "No vote has decided anything yet."
    low, high = found.interval
    share = found.wins[0] / found.decided
    first = share >= 0.5
    who, rate = names[not first], max(share, 1 - share)
    near, far = (low, high) if first else (1 - high, 1 - low)
    votes = "decided vote" if found.decided == 1 else "decided votes"
    told = f"'{who}' was preferred in {rate:.0%} of {found.decided:,} {votes} (95 % interval {near:.0%}–{far:.0%})"
    if near <= 0.5:
        return f"No clear winner yet: {told}, which may be chance. More votes will tell."
    return f"'{who}' wins: {told}."


def leaning(found: Score) -> str:
    """Whether the side on which an answer stands has a part in the votes."""
    if not found.decided:
        return ""
    low, high = wilson(found.left, found.decided)
    told = f"The answer on the left won {found.left:,} of {found.decided:,} times ({found.left / found.decided:.0%})"
    if low <= 0.5 <= high:
        return f"{told}: nothing says that the side matters to you."
    side = "left" if low > 0.5 else "right"
    return f"{told}: you lean to the {side}. As sides are drawn by lot, this costs votes but favours nobody."


def pairs(arena: Arena) -> list[dict[str, Any]]:
    """The decided votes as preference pairs; ties and bad ones are left out. Raises DatasetError for none."""
    return preference_rows(
        [
            (each.messages, each.answers[each.winner] or "", each.answers[1 - each.winner] or "")
            for each in arena.rounds()
            if each.winner is not None and all(each.answers)
        ]
    )
