"""Rewards previewed: answers are drawn and scored in a process that holds the model.

A `Previewer` asks `python -m studio.previewer` with {"workspace", "model", "run", "rewards"} and either "data" and
"draws", or "answered"; the replies are {"doing", "done", "total"} and one {"report"} or {"scores"}. What was drawn
last is kept, so that other rewards or weights score it without drawing again.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import studio.rewards
from studio.catalog import Several
from studio.child import Child, Progress, Reply, Tell, serve, teller
from studio.data.library import Opened, open_source
from studio.data.templates import Mapping as Columns
from studio.data.templates import to_pair
from studio.errors import ConfigError, DatasetError
from studio.models.catalog import check_name, check_use
from studio.preview import Scored, report, senseless
from studio.rewards import Answered, Combined, Reward, Scores, Tools
from studio.settings import Settings, setting
from studio.trained import Awake, identity
from studio.workspace import Workspace

PAIRS = 64  # of chosen and rejected answers that are scored at most
TRIED = 8  # prompts to which senseless texts are scored as answers
_AT_ONCE = 8  # answers scored between two looks at whether to stop


class Draws(Settings):
    """Which answers a preview looks at."""

    prompts: int = setting(
        16, "Prompts", ge=1, le=1024, help="So many rows of the data set are asked, drawn by the seed."
    )
    answers: int = setting(
        4, "Answers a prompt", ge=1, le=64, help="Two or more show how far a reward tells answers to one prompt apart."
    )
    max_completion_length: int = setting(
        48,
        "Longest answer",
        ge=1,
        le=4096,
        unit="tokens",
        help="Answers are drawn up to here; most of the time goes here.",
    )
    temperature: float = setting(
        1.0, "Temperature", gt=0, le=5, help="At 1 the model speaks as it is, as it does while PPO trains it."
    )
    seed: int = setting(0, "Seed", ge=0, le=2**31 - 1, advanced=True, help="Another one draws other rows and answers.")


@dataclass(frozen=True)
class Asked:
    """Who answers, and what scores the answers."""

    model: str  # see `studio.models.catalog.locate`
    run: str  # id of the run whose adapter is on it, which then says the model too; '' without one
    rewards: Mapping[str, Reward]


class Previewer:
    """The parent's side. One preview at a time; a second one waits for the first."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.child = Child(
            "studio.previewer",
            workspace.root / "previewer.log",
            "The process that previews rewards ended.",
            "Preview again; if it ends again, the model does not fit in memory beside what runs now.",
        )

    def preview(self, asked: Asked, source: str, draws: Draws) -> Iterator[Progress | dict[str, Any]]:
        """How far it is, and last a `studio.preview.Report` as plain values.

        Raises StudioError, and ConfigError, DatasetError or ModelError before anything starts. Closing the iterator
        ends the preview.
        """
        opened = open_source(source, self._workspace)
        if opened.mapping.format == "text":
            raise DatasetError(
                f"{opened.title} holds plain text, so there are no prompts to answer.",
                remedy="Choose a data set with prompts, such as 'Customer messages'.",
            )
        data = {"source": source, "version": opened.version, "mapping": opened.mapping.plain()}
        request = self._request(asked) | {"data": data, "draws": draws.model_dump()}
        with closing(self.child.told(request)) as parts:
            for part in parts:
                yield part if isinstance(part, Progress) else part["report"]

    def score(self, asked: Asked, answered: Answered) -> Scores:
        """What one answer gets. The model is loaded only for rewards that ask it. Raises StudioError."""
        *_, last = self.child.ask(self._request(asked) | {"answered": asdict(answered)})
        return Scores(**last["scores"])

    def _request(self, asked: Asked) -> dict[str, Any]:
        if not any(reward.weight for reward in asked.rewards.values()):
            raise ConfigError(
                "No reward is chosen, or all weigh 0.", remedy="Tick one under 'Rewards' and give it a weight."
            )
        for reward in asked.rewards.values():
            reward.check(self._workspace)
        if asked.run:
            self._workspace.run(asked.run)
        else:
            check_name(asked.model)
            check_use(asked.model, self._workspace.models, writes=True)
        return {
            "workspace": str(self._workspace.root),
            "model": asked.model,
            "run": asked.run,
            "rewards": {key: reward.model_dump(mode="json") for key, reward in asked.rewards.items()},
        }

    def close(self) -> None:
        """Free the model's memory; the next preview loads it again."""
        self.child.close()


# -- in the process ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawn:
    """Answers of the model, those to one prompt side by side, and answers of the data."""

    answers: list[Answered]
    chosen: list[Answered]
    rejected: list[Answered]


class _Previews:
    """The model that answered last, what it said, and the rewards that scored it."""

    def __init__(self) -> None:
        self._said = self._scored_by = ""  # what the following were made for
        self._awake = Awake()
        self._drawn = _Drawn([], [], [])
        self._combined: Combined | None = None

    def answer(self, request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
        tell = teller(reply, stop)
        chosen: Any = Several(studio.rewards, Reward).parse_all(request["rewards"])
        if "answered" in request:
            combined = self._rewards(request, chosen, tell)
            reply(scores=asdict(combined([Answered(**request["answered"])])))
        else:
            reply(report=self._report(request, chosen, tell))

    def _report(self, request: dict[str, Any], chosen: dict[str, Reward], tell: Tell) -> dict[str, Any]:
        drawn, k = self._draw(request, tell), request["draws"]["answers"]
        combined = self._rewards(request, chosen, tell)
        texts = senseless(drawn.answers[: TRIED * k : k], chosen)
        parts = [drawn.answers, drawn.chosen, drawn.rejected, *texts.values()]
        scores = _scored(combined, parts, tell)
        tried = {name: Scored(texts[name], each) for name, each in zip(texts, scores[3:], strict=True)}
        pairs = (scores[1], scores[2]) if drawn.chosen else None
        return asdict(report(chosen, k, Scored(drawn.answers, scores[0]), tried, pairs))

    def _draw(self, request: dict[str, Any], tell: Tell) -> _Drawn:
        """The model's answers, or what is kept of them."""
        said = json.dumps([_identity(request), request["data"], request["draws"]])
        if said != self._said:
            tell("Reading the data", 0, 0)
            data, draws = request["data"], Draws.parse(request["draws"])
            read_as = Columns.parse(data["mapping"])
            opened = open_source(data["source"], Workspace(Path(request["workspace"])), read_as, data["version"])
            rows = _rows(opened, draws)
            self._load(request, tell)
            self._drawn = _Drawn(self._answers(rows, read_as, draws, tell), *_pairs(rows, read_as))
            self._said = said
        return self._drawn

    def _answers(self, rows: list[dict[str, Any]], read_as: Columns, draws: Draws, tell: Tell) -> list[Answered]:
        import torch

        from studio.data.prompts import encode_prompts
        from studio.training.rollouts import AT_ONCE, draw

        longest = getattr(self._awake.model.config, "max_position_embeddings", 1 << 30) - draws.max_completion_length
        prompts, _ = encode_prompts(rows, read_as, self._awake.tokenizer, longest)
        repeated = [asdict(prompt) for prompt in prompts[: draws.prompts] for _ in range(draws.answers)]
        order = sorted(range(len(repeated)), key=lambda place: len(repeated[place]["input_ids"]))
        texts: dict[int, Answered] = {}
        torch.manual_seed(draws.seed)
        for begin in range(0, len(order), AT_ONCE):
            places = order[begin : begin + AT_ONCE]
            steps = count()

            def pulse(begin: int = begin, size: int = len(places), steps: Iterator[int] = steps) -> bool:
                """Asked at each token: whoever waits hears of it, and can leave."""
                tell("Writing answers", begin + size * next(steps) / draws.max_completion_length, len(order))
                return False

            drawn = draw(
                self._awake.model,
                self._awake.tokenizer,
                [repeated[place] for place in places],
                max_new_tokens=draws.max_completion_length,
                temperature=draws.temperature,
                stop=pulse,
            )
            texts.update(zip(places, drawn.texts, strict=True))
        return [texts[place] for place in range(len(order))]

    def _rewards(self, request: dict[str, Any], chosen: dict[str, Reward], tell: Tell) -> Combined:
        """What scores, with whatever it loads; the same as long as the same is asked of the same model."""
        if any(reward.asks_model for reward in chosen.values()):
            self._load(request, tell)
        by = json.dumps([self._awake.who, request["rewards"]])
        if self._combined is None or by != self._scored_by:
            tell("Preparing the rewards", 0, 0)
            self._combined = None  # the memory of the old ones first
            workspace = Workspace(Path(request["workspace"]))
            self._combined = Combined(chosen, Tools(workspace, self._awake.model, self._awake.tokenizer))
            self._scored_by = by
        return self._combined

    def _load(self, request: dict[str, Any], tell: Tell) -> None:
        """The model and the run's adapter, unless they are what is loaded already. Raises StudioError."""
        if _identity(request) != self._awake.who:
            self._combined = None  # it may hold the old model
        self._awake.load(Workspace(Path(request["workspace"])), request["model"], request["run"], tell)


def _identity(request: dict[str, Any]) -> str:
    return identity(Workspace(Path(request["workspace"])), request["model"], request["run"])


def _rows(opened: Opened, draws: Draws) -> list[dict[str, Any]]:
    """Rows to ask, drawn by the seed; some more than wanted, as one may be too long or hold no prompt."""
    rows = opened.train.load().rows
    wanted = min(len(rows), 4 * draws.prompts + PAIRS)
    drawn = random.Random(draws.seed).sample(range(len(rows)), wanted)  # noqa: S311 - nothing secret
    return [rows[at] for at in drawn]


def _pairs(rows: Sequence[dict[str, Any]], read_as: Columns) -> tuple[list[Answered], list[Answered]]:
    """Chosen and rejected answers, where the data holds pairs; the chosen one is the right answer to both."""
    if read_as.format != "preference":
        return [], []
    pairs = [pair for row in rows if (pair := to_pair(row, read_as)) and pair[0]][:PAIRS]
    good = [Answered(prompt[-1]["content"], chosen, chosen, prompt[:-1]) for prompt, chosen, _ in pairs]
    bad = [Answered(prompt[-1]["content"], rejected, chosen, prompt[:-1]) for prompt, chosen, rejected in pairs]
    return good, bad


def _scored(combined: Combined, parts: Sequence[Sequence[Answered]], tell: Tell) -> list[Scores]:
    """The scores of each part, told as they come."""
    found, done, total = [], 0, sum(map(len, parts))
    for answers in parts:
        scores = Scores({key: [] for key in combined.chosen}, [])
        for begin in range(0, len(answers), _AT_ONCE):
            tell("Scoring answers", done, total)
            some = combined(answers[begin : begin + _AT_ONCE])
            for key, given in some.parts.items():
                scores.parts[key].extend(given)
            scores.total.extend(some.total)
            done += len(some.total)
        found.append(scores)
    return found


def main() -> None:
    """Answer until nobody asks any more."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    serve(_Previews().answer)


if __name__ == "__main__":
    main()
