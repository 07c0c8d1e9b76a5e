"""Benchmarks, each model in a process of its own, so that its memory is its own and running out of it ends no other.

A `Bencher` asks `python -m studio.bencher` with {"workspace", "settings", "variants": those of one setup, "round"
or None, "quality", "limit": bytes, "merged": folder or ""}, once for each setup in each round; without a round for its
quality alone. The replies are {"doing", "done", "total"},
{"begun": a variant's key}, and the steps of `studio.bench`, which the parent keeps. Or with {"merge": model,
"folder"}; {"why"} is told where that cannot be done.
"""

from __future__ import annotations

import gc
import math
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import filelock

from studio.bench import Bench, look_up
from studio.benchmarks.figures import Quality
from studio.benchmarks.requests import batch_of, prompts, quality, rows_of
from studio.benchmarks.variants import MERGED, BenchSettings, Variant, setups
from studio.child import Child, Died, Part, Progress, Reply, Stopped, serve, teller
from studio.errors import ModelError, explain, ran_out_of_memory
from studio.models.machine import forget_peak_memory, free_memory, peak_host_memory, room
from studio.processes import bound, go_first, memory_kills, own_device
from studio.redaction import print_fault
from studio.rehearsal import REHEARSED
from studio.store import Store
from studio.workspace import Workspace, slug

NO_MEMORY = "It does not fit into the memory that is free."
DIED = "Its process ended; bencher.log beside its figures may say why. Going on tries it again."
LOG = "bencher.log"  # of a process; of one that died, also in the benchmark's folder
_UNKNOWN = Quality(math.nan, 0, 0)
_POLL = 0.3  # seconds between two looks at whether the device is free
_LEAVING = 2.0  # seconds that a benchmark may take to end once it was left
_UNDER_WAY = ("benchmark", "Wait for its end, or cancel it.", _LEAVING)  # see `Binder.alone`


class Bencher:
    """The parent's side. One benchmark at a time, which has the right to the device as long as it is measured."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._left = False  # whether somebody here has ended it
        self.child = Child(
            "studio.bencher",
            workspace.root / LOG,
            "The process that measures ended.",
            "Go on: what was measured is kept. bencher.log in the workspace says why it ended.",
        )

    def run(self, name: str) -> Iterator[Progress]:
        """Measure what is missing; `studio.bench.look_up` has each variant's figures as soon as they are known.

        Waits while something trains, and says for whom. What does not fit into memory is marked, and the others go
        on. Raises StudioError. Closing the iterator leaves at once; to run it again goes on where it was.
        """
        with look_up(self._workspace, name).binder.alone(*_UNDER_WAY):
            bench = look_up(self._workspace, name)  # again: with what was measured last by whoever has just left it
            bench.retry()
            device = yield from self._device()
            self._left = False
            try:
                yield from self._rounds(bench)
            except ModelError:
                if not self._left:
                    raise
            finally:
                self.child.close()
                device.release()

    def _device(self) -> Generator[Progress, None, filelock.BaseFileLock]:
        """The right to the device."""
        # Its holder may be asked by one thread now and by another later, and must be able to give it back.
        lock = filelock.FileLock(str(self._workspace.device_lock(own_device())), thread_local=False)
        store = Store(self._workspace)
        while True:
            try:
                lock.acquire(timeout=0)
                return lock
            except filelock.Timeout:
                training = next((state for state in store.states() if state.status in ("preparing", "training")), None)
                holder = f"{training.title}, which trains" if training else "what is measured beside it"
                yield Progress(f"Waiting for {holder}", 0, 0)
                time.sleep(_POLL)

    def _rounds(self, bench: Bench) -> Iterator[Progress]:
        """Every setup in turn, each round the other way round than the one before."""
        rounds = range(bench.settings.rounds)
        total = sum(len(bench.missing(turn)) for turn in rounds) * _batches(bench.settings)
        done, mine = 0, f"merged-{slug(own_device())}-"
        self._workspace.cache.mkdir(exist_ok=True)
        for left in self._workspace.cache.glob(f"{mine}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self._workspace.cache, prefix=mine) as scratch:
            for turn in rounds:
                found = list(setups(bench.missing(turn)).values())
                for some in found if turn % 2 == 0 else found[::-1]:
                    for part in self._visit(bench, some, turn, Path(scratch)):
                        yield Progress(part.doing, done + part.done, total) if part.total else part
                    done += len(some) * _batches(bench.settings)
            for some in bench.unscored():  # it was left, or died, before that was known
                for part in self._ask(bench, some, None, Path(scratch), 0):
                    yield Progress(part.doing, 0, 0)

    def _visit(self, bench: Bench, some: list[Variant], turn: int, scratch: Path) -> Iterator[Progress]:
        """One setup in one round: in a process of its own, or in several where it dies of a variant."""
        while left := _still(bench, some, turn):
            yield from self._ask(bench, left, turn, scratch, len(some) - len(left))

    def _ask(
        self, bench: Bench, some: list[Variant], turn: int | None, scratch: Path, before: int
    ) -> Iterator[Progress]:
        """One process for variants of a setup, `before` of which are through; without a round for its quality alone."""
        model, kills, begun = some[0].model, memory_kills(), ""
        merged = scratch / model.removeprefix(MERGED) if model.startswith(MERGED) else None
        try:
            if merged and not merged.exists():
                yield from self._merge(bench, model, merged)
                if not merged.exists():
                    return
            for reply in self._replies(bench, some, turn, merged):
                if isinstance(reply, Progress):
                    yield _among(reply, bench.measured[some[0].key].title, before, bench.settings)
                elif "begun" in reply:
                    begun = reply["begun"]
                else:
                    bench.keep({key: value for key, value in reply.items() if key != "id"})
        except Died:
            lost = _of_model(bench, model) if merged and not merged.exists() else _still(bench, some, turn)
            self._mark_dead(bench, [each for each in lost if not begun or each.key == begun], memory_kills() > kills)

    def _replies(self, bench: Bench, some: Sequence[Variant], turn: int | None, merged: Path | None) -> Iterator[Part]:
        self.child.close()  # what another model left behind would count as this one's memory, and not as free
        request = {
            "workspace": str(self._workspace.root),
            "settings": bench.settings.model_dump(mode="json"),
            "variants": [each.model_dump(mode="json") for each in some],
            "round": turn,
            "quality": bench.measured[some[0].key].quality is None,
            "limit": int(REHEARSED * free_memory()),
            "merged": str(merged or ""),
        }
        return self.child.told(request)

    def _merge(self, bench: Bench, model: str, folder: Path) -> Iterator[Progress]:
        """Write the merged model to disk. Where that cannot be done, all that need it are marked."""
        self.child.close()
        request = {"workspace": str(self._workspace.root), "merge": model, "folder": str(folder)}
        with closing(self.child.told(request)) as parts:
            for part in parts:
                if isinstance(part, Progress):
                    yield Progress(f"{bench.binder.about['titles'][model]}: {part.doing}", 0, 0)
                else:
                    for each in _of_model(bench, model):
                        bench.keep({"failed": each.key, "why": part["why"], "died": False})

    def _mark_dead(self, bench: Bench, some: Sequence[Variant], of_memory: bool) -> None:
        """Of a process that ended without a word. Where that was not for memory, another try may go well."""
        if not of_memory:
            with suppress(OSError):  # the next process writes its own
                shutil.copyfile(self._workspace.root / LOG, bench.binder.folder / LOG)
        for each in some:
            bench.keep({"failed": each.key, "why": NO_MEMORY if of_memory else DIED, "died": not of_memory})

    def delete(self, name: str) -> None:
        """Do away with a benchmark. Raises RunError where there is none, or it is under way."""
        binder = look_up(self._workspace, name).binder
        with binder.alone(*_UNDER_WAY):
            pass
        binder.delete()

    def close(self) -> None:
        """End what is measured, whatever it is at; what was measured is kept."""
        self._left = True
        self.child.close()


def _still(bench: Bench, some: Sequence[Variant], turn: int | None) -> list[Variant]:
    """Those of `some` that are to be measured yet in that round."""
    missing = {each.key for each in bench.missing(turn)} if turn is not None else set()
    return [each for each in some if each.key in missing]


def _of_model(bench: Bench, model: str) -> list[Variant]:
    """Its variants that are to be measured yet in any round."""
    missing = {each.key: each for turn in range(bench.settings.rounds) for each in bench.missing(turn)}
    return [each for each in missing.values() if each.model == model]


def _batches(settings: BenchSettings) -> int:
    return settings.warmup + settings.batches


def _among(part: Progress, title: str, before: int, settings: BenchSettings) -> Progress:
    """In batches of the setup; those of variants that are through count too."""
    return Progress(f"{title}: {part.doing}", before * _batches(settings) + part.done, part.total)


# -- in the process ------------------------------------------------------------------------------------


def answer(request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
    """One setup in one round, or a model that is merged."""
    workspace, tell = Workspace(Path(request["workspace"])), teller(reply, stop)
    go_first()
    if "merge" in request:
        from studio.benchmarks.engines import merge

        tell("writing the adapter into the base", 0, 0)
        try:
            merge(workspace, request["merge"], Path(request["folder"]))
        except Exception as error:
            reply(why=_why(error))
        return
    if not room().gpu:
        bound(request["limit"])
    _Setup(request, workspace, reply, tell, stop).measure()


class _Setup:
    """One model in memory, and the loads it is measured under."""

    def __init__(
        self, request: dict[str, Any], workspace: Workspace, reply: Reply, tell: Any, stop: Callable[[], bool]
    ) -> None:
        self._settings = BenchSettings.parse(request["settings"])
        self._variants = [Variant.parse(each) for each in request["variants"]]
        self._request, self._workspace = request, workspace
        self._reply, self._tell, self._stop = reply, tell, stop
        self._done = 0
        self._loading = (0.0, 0.0)  # GB at most by then, of the machine's memory and of the GPU's

    def measure(self) -> None:
        """All variants, then the quality of the model. What fails is told of, not raised; Stopped is."""
        from studio.benchmarks.engines import opened

        settings, merged = self._settings, self._request["merged"]
        asked = self._variants if self._request["round"] is not None else []
        self._tell("loading", 0, 0)
        try:
            rows = rows_of(self._workspace, settings)
            tokens = _room_for(self._variants, settings)
            engine, load = opened(
                self._variants[0], settings, self._workspace, Path(merged) if merged else None, tokens, self._pulse
            )
        except Stopped:
            raise
        except Exception as error:
            why = _why(error)
            for each in asked:
                self._reply(failed=each.key, why=why, died=False)
            if not asked:
                self._told(_UNKNOWN)
            return
        self._loading = peak_host_memory(), _device_memory()
        found = [self._tried(engine, each, rows, load) for each in asked]
        if self._request["quality"] and (any(found) or not asked):
            self._score(engine, rows)

    def _tried(self, engine: Any, variant: Variant, rows: Any, load: float) -> bool:
        """Tell of one variant; whether it could be measured."""
        self._reply(begun=variant.key)
        engine.anew()
        _let_go()  # also what a failed one held: by now its traceback is gone
        try:
            self._reply(**self._measured(engine, variant, rows, load))
        except Stopped:
            raise
        except Exception as error:
            self._reply(failed=variant.key, why=_why(error), died=False)
            return False
        return True

    def _pulse(self) -> None:
        if self._stop():
            raise Stopped

    def _measured(self, engine: Any, variant: Variant, rows: Any, load: float) -> dict[str, Any]:
        """The step that tells of a variant in this round."""
        settings, source = self._settings, prompts(engine, rows, variant)
        began = time.perf_counter()
        for _ in range(settings.warmup):
            self._batch(engine, variant, batch_of(source, variant.batch_size), f"{variant.how}, warming up")
        warm = time.perf_counter() - began
        source = prompts(engine, rows, variant)  # from its beginning: all variants are asked the same
        skipped = self._request["round"] * settings.batches * variant.batch_size
        deque(islice(source, skipped), maxlen=0)
        batches, said = [], ""
        for _ in range(settings.batches):
            asked = batch_of(source, variant.batch_size)
            found = self._batch(engine, variant, asked, variant.how)
            batches.append(
                [
                    [round(each, 6) for each in found.times],
                    [len(each) for each in found.rows],
                    [len(each) for each in asked],
                ]
            )
            said = said or engine.words(found.rows[0])
        return {
            "found": variant.key,
            "round": self._request["round"],
            "load": load,
            "warmup": warm,
            "host": max(self._loading[0], peak_host_memory()),
            "device": max(self._loading[1], _device_memory()),
            "batches": batches,
            "answer": said,
        }

    def _batch(self, engine: Any, variant: Variant, asked: list[list[int]], doing: str) -> Any:
        self._tell(doing, self._done, len(self._variants) * _batches(self._settings))
        found = engine.write(asked, variant.answer_tokens, full=not self._settings.prompts)
        self._done += 1
        return found

    def _score(self, engine: Any, rows: Any) -> None:
        """The quality, once for all variants of the setup; without it where it does not fit into memory."""
        self._tell("scoring the right answers", self._done, len(self._variants) * _batches(self._settings))
        try:
            found = quality(engine, rows)
        except Stopped:
            raise
        except Exception:
            print_fault()
            found = _UNKNOWN
        self._told(found)

    def _told(self, found: Quality) -> None:
        nats = found.nats if math.isfinite(found.nats) else None
        self._reply(quality=self._variants[0].setup, **{**asdict(found), "nats": nats})


def _why(error: Exception) -> str:
    """In a sentence; the traceback goes to stderr, which is the log."""
    print_fault()
    return NO_MEMORY if ran_out_of_memory(error) else explain(error).problem


def _room_for(some: Sequence[Variant], settings: BenchSettings) -> int:
    """Tokens that the longest request takes; rows are as long as they are, so that much is left for them."""
    longest = max(each.prompt_tokens + each.answer_tokens for each in some)
    return longest + (2048 if settings.prompts else 512)


def _device_memory() -> float:
    """GB of the GPU at most, since it was last forgotten; 0 without one."""
    torch = sys.modules.get("torch")  # not imported for it: llama.cpp's memory would be more by that
    return torch.cuda.max_memory_allocated() / 1e9 if torch and torch.cuda.is_available() else 0.0


def _let_go() -> None:
    """Give back what the variant before held, and count the next one's memory anew."""
    gc.collect()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        torch.cuda.empty_cache()
    forget_peak_memory()


def main() -> None:
    """Answer until nobody asks any more."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    serve(answer)


if __name__ == "__main__":
    main()
