"""The rows of a study, each in one part: to show, to search on, to choose on, and sealed."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from studio.config import RunConfig
from studio.data.checks._cells import whole
from studio.data.duplicates import matches
from studio.data.library import Opened, divided, open_source
from studio.data.parquet import Row
from studio.data.splits import THRESHOLD, split_indices
from studio.data.templates import Mapping
from studio.errors import DatasetError
from studio.prompt import ROW, Example, Prompt, examples_of
from studio.workspace import Workspace

if TYPE_CHECKING:
    from studio.study import StudySettings

FINALISTS = 3  # prompts that are scored on rows the search has not seen
FEWEST = 4  # rows in each part
_MOST_ROWS = 4_000  # looked at for near duplicates

Side = Literal["pool", "search", "select", "sealed"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True)
class Parts:
    """The rows, each in one part; near duplicates stand together."""

    pool: list[Example]
    search: list[Example]
    select: list[Example]
    sealed: list[Example]

    def of(self, side: Side) -> list[Example]:
        return getattr(self, side)

    @property
    def key(self) -> str:
        """The same for the same rows: scores are kept by a row's place."""
        told = [[[each.fields, each.answer] for each in self.of(side)] for side in SIDES]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    @property
    def reserve(self) -> int:
        """Calls that the choice and the sealed rows may take."""
        return FINALISTS * len(self.select) + 2 * len(self.sealed)

    @property
    def least(self) -> int:
        """Calls with which nothing could be tried."""
        return len(self.search) + len(self.select) + self.reserve


def parts(workspace: Workspace, settings: StudySettings) -> Parts:
    """The same each time. Raises DatasetError where there are too few rows to divide."""
    settings, opened = settled(workspace, settings)
    seed, mapping = settings.seed, opened.mapping
    if settings.run:
        learnt, held_out = sides(opened, config_of(workspace, settings.run))
        shown, unseen = some(learnt, seed), _apart(held_out, learnt, mapping)
    else:
        shown, unseen, _ = _divided(some(opened.train.load().rows, seed), mapping, seed, (0.75, 0.0))
    searched, chosen_on, sealed = _divided(some(unseen, seed), mapping, seed, (0.2, 0.5))
    known = {(each.fields.get(ROW), each.answer) for each in (settings.prompt or Prompt()).demonstrations}
    found = Parts(
        examples_of(shown, mapping),
        *(
            [each for each in examples_of(rows, mapping) if (each.fields[ROW], each.answer) not in known]
            for rows in (searched, chosen_on, sealed)
        ),
    )
    if min(len(found.of(side)) for side in SIDES) < FEWEST:
        counts = f"{len(found.search)} to search on, {len(found.select)} to choose on, {len(found.sealed)} sealed ones"
        raise DatasetError(
            f"{'What that run held out' if settings.run else opened.title} has too few rows with a question and an "
            f"answer: {len(found.pool)} to show, {counts}; each takes {FEWEST}, and near duplicates stay together"
            f"{', or are left out where the run learnt one' if settings.run else ''}.",
            remedy="Choose a run that held out more." if settings.run else "Choose a larger data set.",
        )
    most = settings.pool_rows, settings.search_rows, settings.select_rows, settings.sealed_rows
    return Parts(*(found.of(side)[:count] for side, count in zip(SIDES, most, strict=True)))


def some(rows: list[Row], seed: int) -> list[Row]:
    """As many as are looked at for near duplicates, in an order of chance."""
    return random.Random(seed).sample(rows, min(len(rows), _MOST_ROWS))  # noqa: S311 - nothing secret


def _divided(rows: list[Row], mapping: Mapping, seed: int, shares: tuple[float, float]) -> list[list[Row]]:
    """Near duplicates together; in each part the rows stand in the order they came in."""
    try:
        indices = split_indices(rows, how="clusters", shares=shares, seed=seed, texts=mapping)
    except DatasetError:  # all are like one another
        return [rows, [], []]
    return [[rows[place] for place in places] for places in indices]


def _apart(rows: list[Row], others: list[Row], mapping: Mapping) -> list[Row]:
    """Those that are near duplicates of none of the others."""
    alike = matches([whole(row, mapping) for row in rows], [whole(row, mapping) for row in others], THRESHOLD)
    gone = {each.index for each in alike}
    return [row for place, row in enumerate(rows) if place not in gone]


def sides(opened: Opened, config: RunConfig) -> tuple[list[Row], list[Row]]:
    """The rows a run learnt, and those it held out."""
    chosen = config.dataset
    shares = chosen.validation_share, chosen.test_share
    sides = divided(opened, shares, config.seed, chosen.split, chosen.split_column)
    return sides.train.rows, [row for side in (sides.validation, sides.test) if side for row in side.rows]


def settled(workspace: Workspace, settings: StudySettings) -> tuple[StudySettings, Opened]:
    """With model and data of the run, where rows are divided as one did, and the data set's version."""
    chosen = settings.dataset
    if settings.run:
        config = config_of(workspace, settings.run)
        chosen, settings = config.dataset, settings.model_copy(update={"model": config.model})
    opened = open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
    # Whole, for who goes on may stand in another folder.
    source = str(opened.path.resolve()) if opened.path else chosen.source
    kept = chosen.model_copy(update={"source": source, "version": opened.version, **opened.mapping.plain()})
    return settings.model_copy(update={"dataset": kept}), opened


def config_of(workspace: Workspace, run: str) -> RunConfig:
    """Raises StudioError where there is no such run."""
    return RunConfig.parse(json.loads(workspace.run(run).config.read_text(encoding="utf-8")))
