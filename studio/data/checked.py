"""That rows were looked through, and what was found: kept on disk, so that it can be told later of a run on them.

A record is of one Parquet file, which never changes: a version of one's own data, or a sample's or file's rows as read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from studio.data.checks import Finding
from studio.workspace import Workspace, write_whole

LEAKAGE = "leakage"  # the finding that compares with another data set; it is no check of one


@dataclass(frozen=True)
class Found:
    """What the last examination with one check found."""

    title: str
    severity: str
    rows: int


@dataclass(frozen=True)
class Checked:
    """All examinations of a file together, each check as it was last made."""

    when: float  # of the last, in seconds since the epoch
    checks: tuple[str, ...] = ()  # keys of those that were made
    found: dict[str, Found] = field(default_factory=dict)  # key of a check → what it found; no key: nothing
    against: str = ""  # name of the file of held-out rows that it was compared with; "": with none

    def faults(self, severity: str) -> list[Found]:
        """What was found of that severity."""
        return [each for each in self.found.values() if each.severity == severity]


def keep(
    workspace: Workspace, rows: Path, checks: Iterable[str], findings: Sequence[Finding], against: Path | None = None
) -> None:
    """Note that the file `rows` was examined with these checks, and compared with the rows of `against`.

    Raises OSError where the disk is full.
    """
    before = known(workspace, rows) or Checked(0.0)
    made = [*checks, *([LEAKAGE] if against else [])]
    found = {key: each for key, each in before.found.items() if key not in made}
    found |= {each.check: Found(each.title, each.severity, len(each.hits)) for each in findings if each.hits}
    now = Checked(
        time.time(), tuple(dict.fromkeys([*before.checks, *made])), found, against.stem if against else before.against
    )
    path = _path(workspace, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(asdict(now)))


def known(workspace: Workspace, rows: Path) -> Checked | None:
    """None where the file was never examined."""
    try:
        values = json.loads(_path(workspace, rows).read_text(encoding="utf-8"))
        found = {key: Found(**each) for key, each in values["found"].items()}
        return Checked(values["when"], tuple(values["checks"]), found, values["against"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _path(workspace: Workspace, rows: Path) -> Path:
    """The names of such files are made from their content."""
    return workspace.checked / f"{rows.stem}.json"
