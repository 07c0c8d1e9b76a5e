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
from studio.training.batching import Batch, padded, starts

_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}  # of a probe, as a share of the norm
_COARSE = 0.06  # the same where numbers have 8 or 11 bits
_LEAK = 0.01  # of these tolerances: what neighbours may change
_CASTS = "cast_input_dtype_enabled"  # of a layer of peft
_WINDOWS = ("sliding_window", "attention_chunk_size")  # of a config: rows longer than these are not probed


class Route(Protocol):
    """What losses need of a model."""

    inner: Any  # transformers' own model
    reason: str  # why rows are padded; '' where they are not
    vocabulary: int  # how many logits a token has

    def states(self, batch: Batch, at: Tensor | None = None) -> Tensor:
        """What `head` takes, for the tokens at `at` among all tokens of the batch, or for all of them.

        Of shape (tokens, width). For a model without an output layer these are its last hidden states.
        """
        ...

    def hidden(self, states: Tensor) -> Tensor:
        """The last hidden states behind what `states` gave last, of shape (tokens, width)."""
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

    def resting(self) -> contextlib.AbstractContextManager[None]:
        """Amid `running`: the model is as its library made it, and can be asked for an answer."""
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
        plain.reason = f"it takes them one below the other only ({_said(error)})"
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
        self._runs += 1
        if self._runs == 1:
            self._enter()
        try:
            yield
        finally:
            self._runs -= 1
            if not self._runs:
                self._inside.close()

    def _enter(self) -> None:
        self._inside = contextlib.ExitStack()
        self._inside.enter_context(_uncast(self.inner if self.compute is not None else None))
        self._inside.enter_context(self._prepared())

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Amid `running`: the model is as its library made it, and can be asked for an answer."""
        if not self._runs:
            yield
            return
        self._inside.close()
        try:
            yield
        finally:
            self._enter()

    def _prepared(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Weights that learn are float32 and are cast to the format of the rest, not the rest to theirs.

        The copies of activations that this saves are the larger part of an adapter's memory.
        """
        with self.running(), torch.autocast(self.device.type, self.compute, enabled=self.compute is not None):
            yield


@contextlib.contextmanager
def _uncast(model: Any) -> Iterator[None]:
    """Inside, adapters take activations in the format these have; peft's own helper knows some methods only."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: list[Any] = [each for each in model.modules() if isinstance(each, BaseTunerLayer)] if model else []
    before = [getattr(layer, _CASTS, True) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, _CASTS, False)
        yield
    finally:
        for layer, casts in zip(layers, before, strict=True):
            setattr(layer, _CASTS, casts)


class SideBySide(_Both):
    """Rows end to end as one long row, each token seeing its own only: nothing is computed that is not learnt from.

    Krell et al. 2021, arXiv:2107.02027, section 3.2: positions and attention that keep neighbours apart.
    """

    def __init__(self, model: Any, compute: torch.dtype | None) -> None:
        super().__init__(model, compute)
        self.body: Any = self.inner.base_model.get_decoder() if self.writes else self.inner
        self.configs = list({id(each.config): each.config for each in _models(self.inner)}.values())
        self.beside = attention.Beside(self.body.config._attn_implementation)
        self.first_position = _first_position(self.body)
        self._blank = torch.empty(0)  # of shape (1, width), once there are states
        self._used: tuple[tuple[int, ...], list[Tensor]] | None = None  # what learns, and of it what `head` uses
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
                position_ids=position_ids[None] + self.first_position,
                cu_seq_lens_q=bounds,
                cu_seq_lens_k=bounds,
                max_length_q=longest,
                max_length_k=longest,
                **{attention.BESIDE: self.beside},
                **self.uncached,
            )
        states = given.last_hidden_state[0]
        self._blank = torch.zeros_like(states[:1])
        states = states if at is None else states[at]
        return states

    def hidden(self, states: Tensor) -> Tensor:
        return states

    def head(self, states: Tensor) -> Tensor:
        """The model's own forward with its body left out: scales and soft caps of logits are its own."""
        given = _Given(states[None])
        with self._computing(), _answering(self.body, lambda *_, **__: given):
            return self.inner(input_ids=torch.zeros(1, len(states), dtype=torch.long, device=self.device)).logits[0]

    def head_weights(self) -> list[Tensor]:
        """As its graph has them: a layer may borrow weights of another, as tied ones that learn new tokens do."""
        if not torch.is_grad_enabled():
            return []
        learn = tuple(id(weight) for weight in self.inner.parameters() if weight.requires_grad)
        if self._used is None or self._used[0] != learn:
            self._used = learn, _leaves(self.head(self._blank))
        return self._used[1]


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
    before = module.__dict__.get("forward")  # a library may have put its own there
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if before is not None:
            module.__dict__["forward"] = before


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
            logits, hidden = self._logits(inputs, columns)
            self._hidden = hidden[row, column]
            return logits[row, column]

    def hidden(self, states: Tensor) -> Tensor:
        return self._hidden

    def _logits(self, inputs: dict[str, Tensor], columns: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, of shape (rows, len(columns), vocabulary), and hidden states behind them at the given columns."""
        columns = columns - inputs["input_ids"].shape[1]  # from the end: a learnt prompt stands in front
        heard: list[Tensor] = []
        head = self.inner.get_output_embeddings()
        handle = head.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
        try:
            if "logits_to_keep" in inspect.signature(self.inner.forward).parameters:
                return self.model(**inputs, use_cache=False, logits_to_keep=columns).logits, heard[-1]
            return self.model(**inputs, use_cache=False).logits[:, columns], heard[-1][:, columns]
        finally:
            handle.remove()

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


def _leaves(output: Tensor) -> list[Tensor]:
    """Weights that learn and that `output` was computed from."""
    found: dict[Any, Tensor | None] = {}  # node of the graph → its weight
    waiting: list[Any] = [output.grad_fn]
    while waiting:
        if (node := waiting.pop()) is not None and node not in found:
            found[node] = getattr(node, "variable", None)
            waiting += [each for each, _ in node.next_functions]
    return [weight for weight in found.values() if weight is not None]


def _first_position(body: Any) -> int:
    """0, but where positions are counted from behind the padding's, as in RoBERTa."""
    tables: Any = (getattr(module, "position_embeddings", None) for module in body.modules())
    padding = (getattr(table, "padding_idx", None) for table in tables)
    return next((place + 1 for place in padding if place is not None), 0)


@torch.no_grad()
def _differs(route: SideBySide, plain: Padded) -> str:
    """Why rows cannot lie side by side in this model; '' where outputs of the middle one are what they are alone.

    Less may change than what its own first tokens change, even where a model hardly looks at other tokens. What
    its neighbours change is nothing at all, in the usual case: the same products are computed, in the same shapes.
    """
    size = min(route.inner.get_input_embeddings().weight.shape[0], 1000)
    ids = torch.arange(27, device=route.device) * 7919 % size
    others = (ids + size // 2) % size
    lengths = torch.tensor([8, 12, 7], device=route.device)
    alone, changed = (
        _outputs(plain, {"input_ids": each, "lengths": lengths[1:2]})
        for each in (ids[8:20], torch.cat([others[8:12], ids[12:20]]))
    )
    batches: list[Batch] = [
        {"input_ids": each, "lengths": lengths} for each in (ids, torch.cat([others[:8], ids[8:20], others[20:]]))
    ]
    beside, again = (_outputs(route, batch)[8:20] for batch in batches)
    matters = (alone - changed)[4:].norm()
    allowed = torch.minimum(_TOLERANCE.get(route.compute or route.inner.dtype, _COARSE) * alone.norm(), 0.5 * matters)
    apart, leak, noise = (alone - beside).norm(), (beside - again).norm(), 0 * matters
    if apart > allowed or leak > _LEAK * allowed:
        # Padded, neighbours may change something too: 8-bit numbers are rounded by what else is in the batch.
        one, other = (_outputs(plain, batch)[8:20] for batch in batches)
        noise = torch.minimum(2 * (one - other).norm(), 0.05 * matters)
    if apart > allowed.maximum(noise):
        return "it computes something else when rows lie side by side"
    if leak > (_LEAK * allowed).maximum(noise):
        return "its rows would see their neighbours"
    if any(getattr(config, name, None) for config in route.configs for name in _WINDOWS) and not route.beside.windows:
        return "its attention is not told how far back it looks"
    return ""


def _outputs(route: Route, batch: Batch) -> Tensor:
    states = route.states(batch)
    return (route.head(states) if isinstance(route, SideBySide) and route.writes else states).float()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:150].rstrip('.')}"
