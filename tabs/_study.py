"""What the page shows of a search for a prompt: leaderboard, verdict, a prompt opened; and its prompts taken away."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from studio.data.library import open_source, title_of
from studio.data.turns import Message
from studio.errors import RunError, StudioError
from studio.parts import Parts
from studio.prompt import ROW, Example, Prompt, examples_of
from studio.study import Side, Study, Tried, Verdict, look_up, parts
from studio.workspace import Workspace
from tabs import _voices
from tabs._shared import Page, shared_beginning

MOST_LINES = 200
SHOWN_ROWS = 20  # of those on which a prompt did otherwise than the first one
_KEPT_PARTS = 8  # studies whose rows are kept at hand
# Where two prompts are held against each other row by row: the first of these that both were scored on.
_COMPARED: tuple[tuple[Side, str, str], ...] = (
    ("select", "goal", "the rows to choose on"),
    ("search", "goal", "rows of the search"),
    ("search", "likelihood", "rows of the search, by how likely the right answer is"),
)


def board(page: Page, study: Study, key: str = "", against: str = "") -> dict[str, Any]:
    """What `assets/prompts.js` draws. `key` is open, else the best; held against another, or the first."""
    settings, best = study.settings, study.best
    standings = study.standings()
    opened = study.tried.get(key) or best or next(iter(standings), None)
    verdict = study.verdict
    return {
        "name": study.binder.name,
        "about": f"{_who(page, study)} on {title_of(settings.dataset.source, page.workspace)}, looked for by "
        f"“{settings.strategy.title}”",
        "goal": " + ".join(f"{each.title} × {each.weight:g}" for each in settings.rewards.values()),
        "guide": settings.guide,
        "end": study.end,
        "tried": len(standings),
        "calls": [study.calls, settings.calls],
        "seconds": study.seconds,
        "lines": [_line(study, each, best) for each in standings[:MOST_LINES]],
        "verdict": _verdict(verdict) if verdict else None,
        "open": _opened(page.workspace, study, opened, against) if opened else None,
    }


def _who(page: Page, study: Study) -> str:
    if not study.settings.run:
        return study.settings.model
    try:
        title = page.store.state(study.settings.run).title
    except RunError:  # deleted since
        title = "a run that was deleted"
    return title if study.settings.tuned else f"{title}, before training,"


def _line(study: Study, each: Tried, best: Tried | None) -> dict[str, Any]:
    guide = study.settings.guide
    return {
        "key": each.prompt.key,
        "how": each.how or "the first one",
        "search": each.mean("search", guide),
        "rows": len(each.on("search", guide)),
        "select": each.mean("select", "goal"),
        "tokens": _tokens(each),
        "seconds": _seconds(each),
        "shots": len(each.prompt.demonstrations),
        "first": each.prompt.key == study.start.key,
        "best": each is best,
    }


def _tokens(each: Tried) -> float | None:
    """What its prompt takes of a request on the mean, the row's own tokens included."""
    found = [one.prompt_tokens for rows in each.scored.values() for one in rows.values() if one.prompt_tokens]
    return statistics.fmean(found) if found else None


def _seconds(each: Tried) -> float | None:
    """What an answer took among others asked with it; None where the right answers' likelihood alone was looked at."""
    answers = [(len(each.scored[key]), took) for key, took in each.took.items() if key[1] == "goal"]
    return sum(took for _, took in answers) / sum(rows for rows, _ in answers) if answers else None


def _verdict(found: Verdict) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "bars": [
            {"name": "First prompt", "mean": found.before, "interval": found.before_interval},
            {"name": "Best prompt", "mean": found.after, "interval": found.after_interval},
        ],
        "gained": found.gained,
        "words": found.words,
    }


# -- a line opened -----------------------------------------------------------------------------------------


def _opened(workspace: Workspace, study: Study, each: Tried, against: str) -> dict[str, Any]:
    other = study.tried.get(against) or study.tried.get(study.start.key)
    return {
        "key": each.prompt.key,
        "how": each.how or "the first one",
        "first": each.prompt.key == study.start.key,
        "best": each is study.best,
        "against": against,
        "before": _texts(other.prompt if other else study.start),
        "after": _texts(each.prompt),
        "rows": _against(workspace, study, other, each) if other and other is not each else None,
    }


def _texts(prompt: Prompt) -> dict[str, Any]:
    shots = prompt.messages({})[bool(prompt.system.strip()) : -1]
    return {
        "system": prompt.system,
        "template": prompt.template,
        "shots": [[asked["content"], answer["content"]] for asked, answer in zip(shots[::2], shots[1::2], strict=True)],
    }


def _against(workspace: Workspace, study: Study, other: Tried, tried: Tried) -> dict[str, Any] | None:
    """Row by row against another prompt; None where no row was asked with both."""
    known = [each for each in _COMPARED if other.on(each[0], each[1]).keys() & tried.on(each[0], each[1]).keys()]
    if not known:
        return None
    side, by, words = known[0]
    was, now = other.on(side, by), tried.on(side, by)
    shared = sorted(was.keys() & now.keys())
    gains = {place: now[place].score - was[place].score for place in shared}
    examples = _examples(workspace, study.binder.name, side)
    changed = sorted((place for place in shared if gains[place]), key=lambda place: -abs(gains[place]))
    listed = [place for place in changed[:SHOWN_ROWS] if place < len(examples)]
    same = len(shared_beginning([examples[place].fields[ROW] for place in listed]))  # need not be read so many times
    return {
        "of": words,
        "wins": sum(gain > 0 for gain in gains.values()),
        "losses": sum(gain < 0 for gain in gains.values()),
        "ties": sum(gain == 0 for gain in gains.values()),
        "answers": by == "goal",
        "list": [
            {
                "asked": examples[place].fields[ROW][same:].strip(),
                "right": examples[place].answer,
                "was": was[place].answer,
                "now": now[place].answer,
                "before": was[place].score,
                "after": now[place].score,
            }
            for place in listed
        ],
    }


def _examples(workspace: Workspace, name: str, side: Side) -> Sequence[Example]:
    """The rows of a part; none where the data set or the run is gone."""
    try:
        return _kept(workspace, name).of(side)
    except StudioError:
        return []


@functools.lru_cache(maxsize=_KEPT_PARTS)
def _kept(workspace: Workspace, name: str) -> Parts:
    """Rows stay what they are."""
    return parts(workspace, look_up(workspace, name).settings)


# -- a prompt taken away -----------------------------------------------------------------------------------


def prompt_of(study: Study, key: str) -> Prompt:
    """The one opened, else the best one. Raises RunError where nothing was scored yet."""
    found = study.tried.get(key) or study.best
    if found is None:
        raise RunError("No prompt is scored yet.", remedy="Begin a search, or let it go on.")
    return found.prompt


def as_data(page: Page, study: Study, prompt: Prompt, request: gr.Request | None) -> str:
    """The study's rows as this prompt asks them, as a data set to train on, and a sentence on it.

    Without its examples: what they show is learnt from the rows.
    """
    chosen = study.settings.dataset
    opened = open_source(chosen.source, page.workspace, chosen.mapping(), chosen.version)
    bare = prompt.model_copy(update={"demonstrations": ()})

    def rows() -> Iterator[dict[str, list[Message]]]:
        for each in examples_of(opened.train.load().rows, opened.mapping):
            yield {"messages": [*bare.messages(each.fields), {"role": "assistant", "content": each.answer}]}

    return _voices.kept_as(page, f"{opened.title}, asked anew", list(rows()), request)
