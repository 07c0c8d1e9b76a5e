"""The background thread that keeps a search going: it queues one run after another, and ends the hopeless."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence

from studio.config import RunConfig
from studio.errors import ConfigError, RunError, StudioError
from studio.events import Note
from studio.jobs import Jobs
from studio.models import machine
from studio.search import (
    FIRST,
    Budget,
    Refused,
    Search,
    Trial,
    find,
    hopeless,
    prepared,
    propose,
    save,
    searches,
    trials,
)
from studio.space import Params, Space, with_values
from studio.store import ACTIVE

LOOK_SECONDS = 1.0  # between two looks at the runs


class Searches:
    """Keeps the search of a workspace going, one at a time, by queueing one run after another."""

    def __init__(self, jobs: Jobs, clock: Callable[[], float] = time.monotonic) -> None:
        self.jobs, self.workspace, self.store = jobs, jobs.workspace, jobs.store
        self._clock = clock
        self._side_by_side = len(machine.devices())
        self._active = ""  # id of the search that is
        self._looked = 0.0  # when
        self._lock = threading.RLock()
        self._close = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="searches", daemon=True)

    def start(self) -> None:
        """Go on with what an earlier server had begun, in a thread."""
        self.recover()
        self._thread.start()

    def close(self) -> None:
        self._close.set()
        if self._thread.is_alive():
            self._thread.join()

    def recover(self) -> None:
        """Find the search that is active; the time that no server was there does not count."""
        ids = [search_id for _, search_id in searches(self.workspace)]
        self._activate(next((each for each in ids if find(self.workspace, each).active), ""))

    def begin(self, config: RunConfig, space: Space, budget: Budget) -> str:
        """Start a search; its id. Raises StudioError before anything is made."""
        with self._lock:
            self._refuse_second()
            search = prepared(config, space, budget, self.workspace)
            save(self.workspace, search)
            self._activate(search.id)
        return search.id

    def stop(self, search_id: str) -> None:
        """Let it rest, and the runs it has under way. Raises RunError where there is no such search."""
        with self._lock:
            search = find(self.workspace, search_id)
            if not search.active:
                return
            resting = [trial.run for trial in trials(self.store, search) if trial.status in ACTIVE]
            self._end(search.model_copy(update={"resting": resting}), "It was stopped, and can go on.")
            for run in reversed(resting):  # those that wait first: none may start meanwhile
                self.jobs.pause(run)

    def resume(self, search_id: str) -> None:
        """Let it go on, and the runs that rest. Raises StudioError where it cannot."""
        with self._lock:
            search = find(self.workspace, search_id)
            if search.active:
                return
            self._refuse_second()
            if search.spent(trials(self.store, search)):
                raise ConfigError(
                    "This search has spent its budget.", remedy="Start another one, with a larger budget."
                )
            save(self.workspace, search.model_copy(update={"active": True, "why": ""}))
            self._activate(search_id)

    def look(self) -> None:
        """See how the active search's runs do; end the hopeless, and queue the next."""
        with self._lock:
            if not self._active:
                return
            search, now = find(self.workspace, self._active), self._clock()
            search = search.model_copy(update={"seconds": search.seconds + now - self._looked})
            self._looked = now
            try:
                search = self._wake(search)
            except StudioError as error:  # the disk is full, or the data set is gone
                return self._end(search, f"A run cannot go on. {error}")
            found = trials(self.store, search)
            search = self._prune(search, found)
            under_way = sum(trial.under_way for trial in found)
            if why := _over(search, found):
                self._end(search, why)
            elif under_way < self._side_by_side and len(found) < search.budget.runs:
                self._queue(search, found)
            else:
                save(self.workspace, search)

    def _wake(self, search: Search) -> Search:
        """Let the runs go on that rested with the search, once each has come to rest. Raises StudioError."""
        found = {trial.run: trial.status for trial in trials(self.store, search)}
        for run in search.resting:
            if found.get(run) == "paused":
                self.jobs.resume(run)
        # What is asked to rest may be called queued still, until its worker has begun to read.
        coming = [
            run for run in search.resting if found.get(run) in ACTIVE and self.workspace.run(run).pause_flag.exists()
        ]
        return search.model_copy(update={"resting": coming})

    def _prune(self, search: Search, found: Sequence[Trial]) -> Search:
        ended = dict(search.ended)
        late = f"Ended because the search's {search.budget.minutes or 0:g} minutes were over."
        for trial in found:
            if trial.status not in ACTIVE or trial.run in ended:
                continue
            if why := late if search.overtime else hopeless(search, trial, found):
                folder = self.workspace.run(trial.run)
                folder.events.append(Note(text=why))
                folder.events.close()
                self.jobs.stop(trial.run)
                ended[trial.run] = why
        return search.model_copy(update={"ended": ended})

    def _queue(self, search: Search, found: Sequence[Trial]) -> None:
        params = propose(search, found)
        if params is None:
            return self._end(search, "Every combination of these settings was tried.")
        try:
            self.jobs.submit(_config(search, params, len(found) + 1))
        except StudioError as error:
            refused = [*search.refused, Refused(params=params, why=str(error), time=time.time())]
            search = search.model_copy(update={"refused": refused})
        save(self.workspace, search)

    def _end(self, search: Search, why: str) -> None:
        save(self.workspace, search.model_copy(update={"active": False, "why": why}))
        self._active = ""

    def _activate(self, search_id: str) -> None:
        self._active, self._looked = search_id, self._clock()

    def _refuse_second(self) -> None:
        if self._active:
            raise RunError("A search is under way already.", remedy="Wait for its end, or stop it first.")

    def _loop(self) -> None:
        while not self._close.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:  # a full disk: once there is room, it goes on
                traceback.print_exc()
                self._close.wait(5)


def _over(search: Search, found: Sequence[Trial]) -> str:
    """Why the search is at its end, a sentence; '' where it is not."""
    ended = [trial for trial in found if not trial.under_way]
    if len(ended) >= FIRST and all(trial.status in ("failed", "refused") for trial in ended[-FIRST:]):
        return f"{FIRST} runs in a row could not be done. {ended[-1].reason}"
    if search.overtime:
        return f"Its {search.budget.minutes:g} minutes are over."
    return f"All {search.budget.runs} runs have ended." if len(ended) >= search.budget.runs else ""


def _config(search: Search, params: Params, number: int) -> RunConfig:
    """Of a trial: nothing is answered that tells nothing of what is searched for."""
    quiet: Params = {"training.sample_rows": 0}
    if search.budget.goal == "eval_loss":
        quiet["training.answer_rows"] = 0
    label = f"search {number} of {search.budget.runs}"
    return with_values({**search.base, "comparison": search.id, "label": label}, {**params, **quiet})
