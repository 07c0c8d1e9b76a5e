"""Old data of a run: what the model could do before, so that forgetting is seen and held back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, cycle, takewhile
from pathlib import Path
from typing import Any

from studio.config import OldDataSettings, RunConfig
from studio.data.kept import NOWHERE, Kept
from studio.data.library import divided, open_source
from studio.data.tokenised import joined, lengths_of, tokenised
from studio.errors import ConfigError, DatasetError
from studio.objectives import Prepared, Progress
from studio.workspace import Workspace

_READ = 20_000  # rows tokenised at most, where no more are to be replayed


@dataclass(frozen=True)
class Guarded:
    """The rows of a run with old data among them, and those that a penalty may measure."""

    prepared: Prepared
    measured: Sequence[Any]


def settle_old(config: RunConfig, workspace: Workspace) -> OldDataSettings:
    """The old data with its version and columns settled, as for the data set. Raises StudioError if it cannot be used.

    `config.dataset` must be settled already.
    """
    old = config.old
    if not old.source.strip():
        _check_none_needed(config)
        return old.model_copy(update={"source": ""})
    if not config.objective.keeps_old:
        raise ConfigError(
            f"'{config.objective.title}' cannot be scored on old data.",
            remedy="Leave 'Old data' empty, or choose another objective.",
        )
    opened = open_source(old.source, workspace, old.mapping(), old.version)
    source = str(Path(opened.path).resolve()) if opened.path is not None else old.source
    if source == config.dataset.source:
        raise ConfigError(
            f"{opened.title} is the data set and the old data at once.",
            remedy="Choose as 'Old data' what the model could do before, or leave it empty.",
        )
    known = type(config.objective).formats
    if opened.mapping.format not in known:
        raise DatasetError(
            f"The old data, {opened.title}, is read as '{opened.mapping.format}', which this objective cannot score.",
            remedy=f"It reads: {', '.join(known)}. Choose another format in the Dataset tab.",
        )
    if opened.train.total < 2:
        raise DatasetError(
            f"The old data, {opened.title}, has fewer than two rows.",
            remedy="Bring more: some are scored, others replayed.",
        )
    settled = {"version": opened.version, "format": opened.mapping.format, "columns": dict(opened.mapping.columns)}
    return old.model_copy(update={"source": source, **settled})


def _check_none_needed(config: RunConfig) -> None:
    if config.old.replay_share > 0:
        raise ConfigError(
            "'Replay share' is above 0, but no old data is chosen.",
            remedy="Set 'Replay share' to 0, or choose 'Old data' with an objective that can be scored on it.",
        )
    if config.penalty.rows() and not config.objective.keeps_old:
        raise ConfigError(
            f"'{config.penalty.title}' cannot be used with '{config.objective.title}', which measures no old data.",
            remedy="Choose the penalty 'None'.",
        )
    if config.penalty.rows():
        raise ConfigError(
            f"'{config.penalty.title}' needs old data to measure, and none is chosen.",
            remedy="Choose 'Old data', or another penalty.",
        )


def guard(
    config: RunConfig,
    workspace: Workspace,
    prepared: Prepared,
    tokenizer: Any,
    progress: Progress,
    kept: Kept = NOWHERE,
) -> Guarded:
    """`prepared` with old rows to score and, where wanted, others to replay; some of those are for a penalty.

    Which rows are scored depends on the seed alone. Raises DatasetError where the old data holds nothing to learn.
    """
    old = config.old
    if not old.source:
        return Guarded(prepared, [])
    opened = open_source(old.source, workspace, old.mapping(), old.version)
    sides = divided(opened, (min(old.rows / opened.train.total, 0.5), 0.0), config.seed)
    if sides.validation is None:  # a share of two rows or more never is empty
        raise DatasetError(f"No row of {opened.title} can be set apart.", remedy="Bring more old data.")
    scored = replace(sides.validation, rows=sides.validation.rows[: old.rows])
    wanted = round(_tokens(prepared.train) * old.replay_share / (1 - old.replay_share))
    pool = list(sides.train.rows)
    random.Random(config.seed).shuffle(pool)  # noqa: S311 - an order, not a secret
    pool = pool[: max(_READ, _holding(pool, wanted))] if wanted or config.penalty.rows() else scored.rows
    try:
        found = config.objective.prepare(
            replace(sides.train, rows=pool), scored, opened.mapping, tokenizer, progress, kept
        )
    except DatasetError as error:
        raise DatasetError(f"The old data, {opened.title}: {error.problem}", remedy=error.remedy) from error
    return Guarded(_mixed(prepared, _replayed(found.train, wanted), found), found.train)


def _tokens(rows: Sequence[Any]) -> int:
    return sum(lengths_of(rows))


def _holding(rows: list[Any], tokens: int) -> int:
    """How many of `rows`, not tokenised yet, surely hold so many tokens: few are longer than 8 characters."""
    seen = accumulate(len(str(row)) for row in rows)
    return 1 + sum(1 for _ in takewhile(lambda characters: characters < 8 * tokens, seen))


def _replayed(rows: Sequence[Any], tokens: int) -> list[int]:
    """Places of as many rows, the first again behind the last, as come nearest to `tokens`; one at least, if any."""
    replayed: list[int] = []
    left, lengths = tokens, lengths_of(rows)
    for place, length in cycle(enumerate(lengths)) if tokens else ():
        if replayed and left < length / 2:
            break
        replayed.append(place)
        left -= length
    return replayed


def _mixed(prepared: Prepared, places: list[int], old: Prepared) -> Prepared:
    from studio.data.tokens import Encoded, report_on

    replayed = tokenised(Encoded, old.train).take(places)
    train = joined([tokenised(Encoded, prepared.train), replayed])
    notes = [f"{len(old.validation):,} rows of old data are scored beside the new ones and never trained on."]
    if replayed:
        often = "" if len(replayed) <= len(old.train) else f"; there are only {len(old.train):,}, so they come again"
        share = _tokens(replayed) / _tokens(train)
        notes.append(
            f"{len(replayed):,} rows of old data, {share:.1%} of the tokens, are mixed into the training rows{often}."
        )
    more, report = report_on(replayed, 0), prepared.report
    return replace(
        prepared,
        train=train,
        old=old.validation,
        notes=[*prepared.notes, *notes],
        report=replace(
            report,
            truncated=report.truncated + more.truncated,
            tokens=report.tokens + more.tokens,
            trained_tokens=report.trained_tokens + more.trained_tokens,
        ),
    )
