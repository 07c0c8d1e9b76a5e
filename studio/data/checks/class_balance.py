"""Labels that hardly occur, or that hardly anything else occurs beside."""

from __future__ import annotations

from typing import ClassVar

from studio.data.checks import Check, Hit, Row, Severity
from studio.data.checks._cells import LABEL, cells
from studio.data.templates import Mapping
from studio.settings import setting


class ClassBalance(Check):
    """One hit per label, at the first row that has it."""

    title: ClassVar[str] = "Uneven labels"
    about: ClassVar[str] = "A label so rare that it is hardly learnt, or so frequent that it is guessed always."
    severity: ClassVar[Severity] = "hint"
    remedy: ClassVar[str] = ""

    rare: float = setting(0.05, "Rare below", ge=0.0, le=0.5, help="Share of the rows below which a label is rare.")
    frequent: float = setting(0.9, "Frequent above", ge=0.5, le=1.0, help="Share above which a label is too frequent.")

    def applies(self, mapping: Mapping) -> bool:
        return any(role.startswith(LABEL) for role in mapping.columns)

    def begin(self, mapping: Mapping) -> _Labels:
        return _Labels(mapping, self)


class _Labels:
    def __init__(self, mapping: Mapping, check: ClassBalance) -> None:
        self._mapping = mapping
        self._check = check
        self._rows: dict[str, dict[str, list[int]]] = {}  # place → label → [first row, how many]

    def look(self, row_id: int, row: Row) -> None:
        for cell in cells(row, self._mapping):
            if cell.part == LABEL and (label := cell.text.strip()):
                self._rows.setdefault(cell.place, {}).setdefault(label, [row_id, 0])[1] += 1

    def end(self) -> list[Hit]:
        hits = []
        for place, labels in self._rows.items():
            total = sum(count for _, count in labels.values())
            for label, (first, count) in labels.items():
                if count / total < self._check.rare or count / total > self._check.frequent:
                    share = f"{count:,} of {total:,} rows ({100 * count / total:.1f} %)"
                    hits.append(Hit(first, f"{place} is {label[:40]!r} in {share}"))
        return sorted(hits, key=lambda hit: hit.row_id)
