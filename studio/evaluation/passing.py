"""Whether programs that a model wrote pass their tests, run in sandboxes only."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

from studio.models.machine import host_memory
from studio.sandbox import Limits, Outcome, SandboxError, Task, available, run

_AT_ONCE = 8  # programs, at most, however many cores there are


def task_of(row: Mapping[str, Any]) -> Task | None:
    """The task of a row in the columns of HumanEval (prompt, test, entry_point) or MBPP (text or prompt, test_list).

    None where it has no such tests. Chen et al. 2021, arXiv:2107.03374; Austin et al. 2021, arXiv:2108.07732.
    """
    tests = _code(row.get("test_list")) or (_code(row.get("test")) if row.get("entry_point") else "")
    if not tests.strip():
        return None
    return Task(
        tests=tests,
        prompt=str(row.get("prompt") or row.get("text") or ""),
        entry_point=str(row.get("entry_point") or ""),
        setup="\n".join(filter(None, (_code(row.get("test_imports")), _code(row.get("test_setup_code"))))),
    )


def _code(cell: Any) -> str:
    """The lines of a cell: a list of them, the same as JSON in a text, or the text itself."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError:
            return cell
    return "\n".join(map(str, cell)) if isinstance(cell, list | tuple) else str(cell or "")


def measure(
    tasks: Sequence[Task],
    answers: Sequence[Sequence[str]],
    tell: Callable[[str, float, float], None] = lambda *_: None,
    limits: Limits | None = None,
) -> list[list[Outcome]]:
    """What came of every answer of every task, some run at once. Raises SandboxError where no sandbox can be had.

    `answers` has n texts for each task, the same n for all (ValueError). `tell` hears what is done of how many;
    raising from it ends what runs and starts no more.
    """
    if len({len(each) for each in answers}) > 1 or len(tasks) != len(answers):
        raise ValueError(f"{len(tasks)} tasks with {sorted({len(each) for each in answers})} answers each")
    possible, why = available()
    if not possible:
        raise SandboxError(why, remedy="Until then the other metrics are there.")
    limits, stop = limits or Limits(), threading.Event()
    found: dict[tuple[int, int], Outcome] = {}
    total = sum(map(len, answers))
    with ThreadPoolExecutor(at_once(limits)) as pool:
        waiting = {
            pool.submit(run, task, answer, limits, stop): (row, place)
            for row, task in enumerate(tasks)
            for place, answer in enumerate(answers[row])
        }
        try:
            while waiting:
                done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                found |= {waiting.pop(each): each.result() for each in done}
                tell("Running programs", len(found), total)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [[found[row, place] for place in range(len(each))] for row, each in enumerate(answers)]


def at_once(limits: Limits) -> int:
    """Programs that fit in memory beside one another: each, and once more its tests, may take all it is allowed."""
    each = 2 * (limits.memory + limits.files)
    return max(1, min(_AT_ONCE, os.cpu_count() or 1, host_memory().free // each))
