"""How a batch of rows goes through a model: side by side, or padded where the model cannot do that."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from studio.training import attention
from studio.training.batching import Batch, padded, spans, starts

_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # of a probe, as a share of the norm
_COARSE = 0.06  # the same where numbers have 8 or 11 bits


class Route(Protocol):
    """What losses need of a model."""

    reason: str  # why rows are padded; '' where they are not
    vocabulary: int  # how many logits a token has

    def states(self, batch: Batch, at: Tensor | None = None) -> Tensor:
        """What `head` takes, for the tokens at `at` among all tokens of the batch, or for all of them.

        Of shape (tokens, width). For a model without an output layer these are its last hidden states.
        """
        ...

    def head(self, states: Tensor) -> Tensor:
        """Logits of the token behind each, of shape (tokens, vocabulary)."""
        ...

    def head_weights(self) -> list[Tensor]:
        """Weights that `head` uses and that learn."""
        ...

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Around everything that computes, the backward pass included: checkpoints compute attention anew there."""
        ...


def choose(model: Any, compute: torch.dtype | None = None) -> Route:
    """Side by side where a probe of the model itself shows that it gives the same; else padded, with the reason.

    `compute` is what matrix products are computed in, whatever the weights' own format; None: that one.
    """
    if (config := getattr(model, "active_peft_config", None)) is not None and config.is_prompt_learning:
        return Padded(model, compute, "a learnt prompt stands in front of each row")
    was_training = model.training
    model.eval()
    plain = Padded(model, compute)
    try:
        route = SideBySide(model, compute)
        plain.reason = _differs(route, plain)
    except Exception as error:  # whatever a model's code says to what it does not know
        plain.reason = f"it takes them one below the other only ({type(error).__name__})"
    finally:
        model.train(was_training)
    return plain if plain.reason else route  # pyright: ignore[reportPossiblyUnboundVariable]


class _Both:
    """What the two have in common."""

    def __init__(self, model: Any, compute: torch.dtype | None, reason: str = "") -> None:
        self.model = model
        # Transformers' own, the method's weights within it.
        self.inner: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.compute = compute
        self.reason = reason
        self.writes = self.inner.get_output_embeddings() is not None
        self.vocabulary: int = self.inner.config.get_text_config().vocab_size
        self._runs = 0  # how often `running` has been entered
        self.device = self.inner.get_input_embeddings().weight.device

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        from peft.helpers import disable_input_dtype_casting

        self._runs += 1
        try:
            if self._runs > 1:
                yield
                return
            with disable_input_dtype_casting(self.inner, self.compute is not None), self._prepared():
                yield
        finally:
            self._runs -= 1

    def _prepared(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Weights that learn are float32 and are cast to the format of the rest, not the rest to theirs.

        The copies of activations that this saves are the larger part of an adapter's memory.
        """
        with self.running(), torch.autocast(self.device.type, self.compute, enabled=self.compute is not None):
            yield


class SideBySide(_Both):
    """Rows end to end as one long row, each token seeing its own only: nothing is computed that is not learnt from.

    Krell et al. 2021, arXiv:2107.02027, section 3.2: positions and attention that keep neighbours apart.
    """

    def __init__(self, model: Any, compute: torch.dtype | None) -> None:
        super().__init__(model, compute)
        self.body: Any = getattr(self.inner, self.inner.base_model_prefix) if self.writes else self.inner
        self.configs = list({id(each.config): each.config for each in _models(self.inner)}.values())
        self.own: str = self.body.config._attn_implementation
        known = inspect.signature(self.body.forward).parameters
        self.uncached = {"use_cache": False} if "use_cache" in known else {}

    @contextlib.contextmanager
    def _prepared(self) -> Iterator[None]:
        before = [config._attn_implementation for config in self.configs]
        self._name(*[attention.NAME] * len(before))
        try:
            yield
        finally:
            self._name(*before)

    def _name(self, *implementations: str | None) -> None:
        for config, implementation in zip(self.configs, implementations, strict=True):
            config._attn_implementation = implementation

    def states(self, batch: Batch, at: Tensor | None = None) -> Tensor:
        ids, lengths = batch["input_ids"], batch["lengths"]
        first = starts(lengths)
        position_ids = torch.arange(len(ids), device=ids.device) - first.repeat_interleave(
            lengths, output_size=len(ids)
        )
        bounds = torch.cat([first, first.new_tensor([len(ids)])]).int()
        longest = int(lengths.max())
        with self._computing():
            given = self.body(
                input_ids=ids[None],
                position_ids=position_ids[None],
                cu_seq_lens_q=bounds,
                cu_seq_lens_k=bounds,
                max_length_q=longest,
                max_length_k=longest,
                **{attention.OWN: self.own},
                **self.uncached,
            )
        states = given.last_hidden_state[0]
        return states if at is None else states[at]

    def head(self, states: Tensor) -> Tensor:
        """The model's own forward with its body left out: scales and soft caps of logits are its own."""
        given = _Given(states[None])
        with self._computing(), _answering(self.body, lambda *_, **__: given):
            return self.inner(input_ids=torch.zeros(1, len(states), dtype=torch.long, device=self.device)).logits[0]

    def head_weights(self) -> list[Tensor]:
        others = (child for child in self.inner.children() if child is not self.body)
        return [weight for child in others for weight in child.parameters() if weight.requires_grad]


class _Given:
    """A body's output that holds hidden states and nothing else."""

    def __init__(self, last_hidden_state: Tensor) -> None:
        self.last_hidden_state = last_hidden_state

    def __getitem__(self, place: int) -> Tensor:
        return (self.last_hidden_state,)[place]

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextlib.contextmanager
def _answering(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside, `module` answers with `forward`."""
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]


class Padded(_Both):
    """Rows one below the other, as every model takes them; its own logits, at columns where some row has a label."""

    def states(self, batch: Batch, at: Tensor | None = None) -> Tensor:
        lengths = batch["lengths"].tolist()
        ids, mask = padded(batch["input_ids"], lengths, self.inner.config.pad_token_id or 0)
        row, column = _places(lengths, at, ids.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        with self._computing():
            if not self.writes:
                hidden = self.model(**inputs).last_hidden_state
                return hidden[:, -ids.shape[1] :][row, column]  # learnt prompts stand in front
            columns, column = column.unique(return_inverse=True)
            return self._logits(inputs, columns)[row, column]

    def _logits(self, inputs: dict[str, Tensor], columns: Tensor) -> Tensor:
        """Logits of shape (rows, len(columns), vocabulary) at the given columns."""
        columns = columns - inputs["input_ids"].shape[1]  # from the end: a learnt prompt stands in front
        if "logits_to_keep" in inspect.signature(self.inner.forward).parameters:
            return self.model(**inputs, use_cache=False, logits_to_keep=columns).logits
        return self.model(**inputs, use_cache=False).logits[:, columns]

    def head(self, states: Tensor) -> Tensor:
        return states  # logits already

    def head_weights(self) -> list[Tensor]:
        return []


def _models(model: Any) -> list[PreTrainedModel]:
    return [each for each in model.modules() if isinstance(each, PreTrainedModel)]


def _places(lengths: list[int], at: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column of tokens among rows one below the other."""
    rows = torch.cat([torch.full((length,), row) for row, length in enumerate(lengths)]).to(device)
    columns = torch.cat([torch.arange(length) for length in lengths]).to(device)
    return (rows, columns) if at is None else (rows[at], columns[at])


@torch.no_grad()
def _differs(route: SideBySide, plain: Padded) -> str:
    """Why rows cannot lie side by side in this model; '' where the last one's outputs are what they are alone.

    Two short rows, then the same with another first one: the second must not notice its neighbour.
    """
    size = min(route.inner.get_input_embeddings().weight.shape[0], 1000)
    ids = torch.arange(20, device=route.device) * 7919 % size
    other = torch.cat([ids[:8].flip(0), ids[8:]])
    lengths = torch.tensor([8, 12], device=route.device)
    alone = plain.states({"input_ids": ids[8:], "lengths": lengths[1:]}).float()
    beside, again = (_last(route, {"input_ids": each, "lengths": lengths}) for each in (ids, other))
    allowed = _TOLERANCE.get(route.compute or route.inner.dtype, _COARSE)
    if not _close(alone, beside, allowed):
        return "it computes something else when rows lie side by side"
    return "" if _close(beside, again, allowed / 10) else "its rows would see their neighbours"


def _last(route: SideBySide, batch: Batch) -> Tensor:
    begin, end = list(spans(batch["lengths"].tolist()))[-1]
    states = route.states(batch)[begin:end]
    return (route.head(states) if route.writes else states).float()


def _close(one: Tensor, other: Tensor, allowed: float) -> bool:
    return bool((one - other).norm() <= allowed * one.norm())
