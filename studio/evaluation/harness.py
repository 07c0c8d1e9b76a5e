"""lm-eval asks a model that is in memory already; what it says of it, and candidates beside one another.

Gao et al., Language Model Evaluation Harness, https://github.com/EleutherAI/lm-evaluation-harness. It is an extra: only
who asks imports it, inside functions.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from studio.errors import ConfigError, DatasetError, StudioError
from studio.evaluation.tasks import ABSENT, INSTALL, EvalTask, installed

_DRAWS = 1000  # of rows, for standard errors that no formula gives; lm-eval's 100,000 cannot be left for minutes
_LOGITS = 1 << 28  # of a batch, on a CPU; four times as many on a GPU
_TOKENS = 512  # of a row, as a batch is reckoned


@dataclass(frozen=True)
class Score:
    """One number of a task, or of one task within a group of them."""

    task: str
    metric: str
    filter: str  # what took the answer out of what was written; 'none'
    value: float | None  # None: it has left the numbers
    stderr: float | None  # None: lm-eval gives none
    higher: bool | None  # is better; None: lm-eval does not say


@dataclass(frozen=True)
class Result:
    """What came of a task for one candidate."""

    scores: list[Score]
    chat: bool  # whether the candidate was asked through its chat template
    signature: str  # with which others can ask the same


class Harness:
    """Tasks, ready to be asked of one model after the other."""

    def __init__(self, tasks: Sequence[EvalTask], shots: int | None, limit: int | None, cache: Path) -> None:
        """`limit`: so many rows of each, the first ones. Raises StudioError for a task that cannot be asked."""
        if not installed():  # any more, where an evaluation goes on
            raise ConfigError(ABSENT, remedy=INSTALL)
        _contain()
        from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

        self._limit = limit
        manager = TaskManager(include_defaults=any(each.config is None for each in tasks))
        self._loaded = {each.name: _load(manager, each, cache) for each in tasks}
        for task in self._tasks():
            if shots is not None and task.get_config("num_fewshot") != 0:  # a task that says 0 means it
                task.set_config("num_fewshot", shots)
            elif task.get_config("num_fewshot") is None:
                task.set_config("num_fewshot", 0)

    def _tasks(self, *names: str) -> list[Any]:
        return [task for name in names or self._loaded for task in self._loaded[name]["tasks"].values()]

    def rows(self, name: str) -> int:
        """How many a candidate is asked."""
        sizes = [len(task.eval_docs) for task in self._tasks(name)]
        return sum(min(each, self._limit or each) for each in sizes)

    def ask(
        self, name: str, model: Any, tokenizer: Any, pulse: Callable[[], None], tell: Callable[[float], None]
    ) -> Result:
        """`pulse` is called at all that is made ready or read, `tell` with the share that is done; both may raise."""
        from lm_eval import __version__  # pyright: ignore[reportMissingImports]
        from lm_eval.defaults import DEFAULT_OTHER_SEED  # pyright: ignore[reportMissingImports]
        from lm_eval.evaluator import evaluate  # pyright: ignore[reportMissingImports]
        from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]

        from studio.models.generate import answering, seeded

        tasks, chat = self._tasks(name), bool(tokenizer.chat_template)
        for task in tasks:
            task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)  # every candidate is shown the same examples
        lm = HFLM(_Held(model), backend="causal", tokenizer=copy.deepcopy(tokenizer), batch_size=_at_once(model))
        lm.set_cache_hook(_Heard(tasks, tell))
        with answering(model, adapter=True), seeded(model, DEFAULT_OTHER_SEED), _pulsing(lm, model, pulse):
            found = evaluate(
                lm,
                self._loaded[name],
                limit=self._limit,
                bootstrap_iters=_DRAWS,
                log_samples=False,
                apply_chat_template=chat,
                fewshot_as_multiturn=True,
            )
        version, shots = found["versions"].get(name), found["n-shot"].get(name)
        told = [f"lm-eval {__version__}", *([f"task version {version}"] if version is not None else [])]
        return Result([*_scores(found)], chat, ", ".join([*told, f"{shots or 0} examples before each row"]))


def _contain() -> None:
    """Let templates of tasks compute texts alone, and lm-eval start no processes of its own.

    Its own environment would let a template reach everything that Python can.
    """
    from jinja2 import BaseLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval import utils  # pyright: ignore[reportMissingImports]

    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    if not isinstance(utils.env, ImmutableSandboxedEnvironment):
        closed = ImmutableSandboxedEnvironment(
            loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True
        )
        closed.filters.update(utils.env.filters)
        utils.env = closed


def _load(manager: Any, task: EvalTask, cache: Path) -> dict[str, Any]:
    """As `TaskManager.load` gives it. Raises StudioError."""
    task.check()
    if task.config is None and task.name not in manager.all_tasks:
        raise ConfigError(f"lm-eval has no task '{task.name}'.", remedy="Name it as lm-eval's list does.")
    config: Any = copy.deepcopy(task.config)
    if config:
        config["dataset_kwargs"]["cache_dir"] = str(cache)
    try:
        found = manager.load([config or task.name])
    except StudioError:
        raise
    except Exception as error:  # whatever a task's file or its rows bring about in lm-eval and the libraries behind it
        said = (str(error).strip().splitlines() or [""])[0][:300]
        raise DatasetError(
            f"The task '{task.name}' cannot be made ready ({type(error).__name__}: {said}).",
            remedy="Mend its file or its rows, or see that the Hub can be reached where lm-eval takes them from there.",
        ) from None
    for each in found["tasks"].values():
        if getattr(each, "UNSAFE_CODE", False) or getattr(each, "MULTIMODAL", False):
            what = "runs programs that models write" if getattr(each, "UNSAFE_CODE", False) else "shows more than text"
            raise ConfigError(f"'{each.task_name}' {what}, which is not done here.", remedy="Ask another task.")
    return found


class _Held:
    """A model that lm-eval uses as it is: of a module it would tie the weights anew, which a run may have parted."""

    def __init__(self, model: Any) -> None:
        self._held = model

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self._held(*inputs, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)


class _Heard:
    """What lm-eval tells a cache of answers, which it does of each request that is answered."""

    def __init__(self, tasks: Sequence[Any], tell: Callable[[float], None]) -> None:
        self._tasks, self._tell, self._done = tasks, tell, 0

    def add_partial(self, *_: Any) -> None:
        self._done += 1
        self._tell(min(1.0, self._done / max(1, sum(len(each.instances) for each in self._tasks))))


@contextlib.contextmanager
def _pulsing(lm: Any, model: Any, pulse: Callable[[], None]) -> Iterator[None]:
    """Call that at each row that is put into words or tokens, and at each pass: at each token it writes."""

    def pulsed(made: Callable[..., Any]) -> Callable[..., Any]:
        def make(*inputs: Any, **named: Any) -> Any:
            pulse()
            return made(*inputs, **named)

        return make

    lm.apply_chat_template, lm.tok_encode = pulsed(lm.apply_chat_template), pulsed(lm.tok_encode)
    hook = model.get_input_embeddings().register_forward_pre_hook(lambda *_: pulse())
    try:
        yield
    finally:
        hook.remove()


def _at_once(model: Any) -> int:
    """Rows of a batch: their logits are most of the memory that it takes."""
    most = _LOGITS * (4 if model.device.type == "cuda" else 1)
    return max(1, min(32, most // (_TOKENS * model.get_input_embeddings().num_embeddings)))


def _scores(found: Mapping[str, Any]) -> Iterator[Score]:
    """lm-eval's 'metric,filter' and 'metric_stderr,filter' of each task."""
    for task, told in found["results"].items():
        for key, value in told.items():
            metric, comma, name = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, Real):
                continue
            higher = found["higher_is_better"].get(task, {}).get(metric)
            stderr = told.get(f"{metric}_stderr,{name}")
            yield Score(task, metric, name, _number(value), _number(stderr), None if higher is None else bool(higher))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


# -- beside one another --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One number of all candidates that were asked."""

    task: str
    metric: str
    filter: str
    higher: bool | None
    values: dict[int, tuple[float | None, float | None]]  # place of the candidate → (value, standard error)


@dataclass(frozen=True)
class Table:
    """A task that was named."""

    name: str
    notes: list[str]
    rows: list[Row]


def table(
    name: str, size: int | None, titles: Sequence[str], results: Mapping[int, Result], unable: Sequence[str]
) -> Table:
    """What came of a task; `unable` are titles of those that cannot be asked, for they name labels."""
    found: dict[tuple[str, str, str], Row] = {}
    for who, result in sorted(results.items()):
        for each in result.scores:
            row = Row(each.task, each.metric, each.filter, each.higher, {})
            found.setdefault((each.task, each.metric, each.filter), row).values[who] = (each.value, each.stderr)
    notes = [f"{size:,} rows."] if size else []
    for chat, how in ((True, "Asked through its chat template"), (False, "Asked in plain text")):
        if some := [titles[who] for who, result in sorted(results.items()) if result.chat is chat]:
            notes.append(f"{how}: {', '.join(some)}.")
    notes += [f"{each} names labels, so it cannot be asked." for each in unable]
    notes += [f"{each}." for each in dict.fromkeys(result.signature for result in results.values())]
    return Table(name, notes, [*found.values()])
