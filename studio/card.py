"""The efficiency card of a model or a run: what it is made of and what it costs, as far as that needs no torch.

What only the loaded model can tell, time and memory of a forward pass, is measured in a process of its own by
`studio.carder`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from studio.config import RunConfig
from studio.errors import ModelError
from studio.estimate import formats
from studio.methods import Method
from studio.models.catalog import check_use, folder_of, structure_of
from studio.models.flow import Flow
from studio.models.machine import Room, room
from studio.models.structure import Structure, read_structure
from studio.rehearsal import size
from studio.workspace import RunFolder, Workspace

CONTEXT = 128  # tokens of the pass that is counted and measured


@dataclass(frozen=True)
class Forward:
    """Passes over CONTEXT tokens, one text at a time, on this machine."""

    device: str  # 'cuda', 'mps' or 'cpu'
    dtype: str  # of the weights
    milliseconds: float  # the median
    slowest: float  # milliseconds
    passes: int
    peak: float  # GB at most, loading included; of the GPU where there is one
    machine: str  # on which processor


@dataclass(frozen=True)
class Card:
    """What others may be shown. Sizes are in bytes; None is what is not known here."""

    model: str  # the base
    run: str  # the run whose model it is; "" for the base itself
    parameters: int  # all of them, those learnt beside the base's included
    trainable: int | None  # of them learnt by the run; None for a base too
    disk: int | None  # the base's files of weights
    saved: int | None  # what the run saved beside them
    weights: int  # held in memory, in the number format that is taken here
    cache: int  # a token: its keys and values, kept while an answer is written; 0 if none is
    flops: int | None  # a token of a forward pass in the midst of CONTEXT; see `forward_flops`
    context: int = CONTEXT
    forward: Forward | None = None  # once it is measured

    @property
    def share(self) -> float | None:
        """Of the parameters that learnt."""
        return None if self.trainable is None else self.trainable / self.parameters

    @property
    def rate(self) -> float | None:
        """FLOPs a second of the passes that were measured."""
        if self.flops is None or self.forward is None:
            return None
        return 1000 * self.flops * self.context / self.forward.milliseconds

    def plain(self) -> dict[str, Any]:
        """All of it, for a JSON file."""
        return {**asdict(self), "share": self.share, "flops_per_second": self.rate}


def card_of(workspace: Workspace, model: str = "", run: str = "") -> Card:
    """The card of a model of the catalog, or of what a run made of its base. Raises StudioError.

    Nothing is fetched or loaded: of a model that is not on this machine there is none.
    """
    folder = workspace.run(run) if run else None
    values = json.loads(folder.config.read_text(encoding="utf-8")) if folder else {"model": model}
    config = RunConfig.parse(values)
    if folder and not folder.adapter.is_dir():
        raise ModelError("This run saved no adapter.", remedy="Choose a run that was trained to its end.")
    writes = config.objective.writes if folder else can_write(config.model, workspace.models)
    structure = structure_of(config.model, workspace.models, writes=writes)
    if structure is None:
        raise ModelError(
            f"'{config.model}' is not on this machine, so nothing is known of its weights.",
            remedy="Train or chat with it once, which fetches it.",
        )
    if not writes:  # as it is loaded, see `studio.models.base`: without what makes one vector of a text
        structure = Structure({k: shape for k, shape in structure.weights.items() if not k.startswith("pooler.")})
    return _card(config, folder, structure, folder_of(config.model, workspace.models), room(), writes=writes)


def _card(
    config: RunConfig, folder: RunFolder | None, structure: Structure, base: Path | None, place: Room, *, writes: bool
) -> Card:
    method, flow = config.method, Flow(structure)
    held, product = formats(config, place)
    learnt = _learnt(method, structure, folder.adapter) if folder else None
    beside = 0 if learnt is None or method.in_place else learnt
    flops = forward_flops(structure, CONTEXT, writes=writes)
    # Of an update beside each weight; a learnt prompt is no weight that tokens are multiplied with.
    extra = 2 * beside if not method.in_front() else 0
    return Card(
        model=config.model,
        run=folder.path.name if folder else "",
        parameters=flow.weights + beside,
        trainable=learnt,
        disk=_size(base) if base else None,
        saved=_size(folder.adapter) if folder else None,
        weights=(method.weight_bytes(structure, held) if folder else held * flow.weights) + 4 * beside,
        cache=product * flow.remembered if writes else 0,
        flops=None if flops is None else flops + extra,
    )


def forward_flops(structure: Structure, context: int, *, writes: bool = True) -> int | None:
    """Floating-point operations for one token of a forward pass; a multiplication and an addition are two.

    Kaplan et al. 2020, arXiv:2001.08361, section 2.1 and table 1: C = 2 N + 2 n_layer n_ctx d_attn, N the weights of
    all linear layers, the second term attention's scores and sums, of which a token sees half of `context` (n_ctx) on
    average; and 2 d_model n_vocab for the output layer, which their C leaves out, where it `writes`. What norms,
    activations and the softmax compute is left out. None with experts: shapes do not tell which of them see a token.
    """
    if structure.experts():
        return None
    flow = Flow(structure)
    attended = sum(sum(each.last.values()) for each in flow.sublayers if each.attends)
    head = 2 * flow.hidden * flow.vocabulary if writes else 0
    return 2 * sum(map(prod, structure.linear().values())) + 2 * context * attended + head


def _learnt(method: Method, structure: Structure, adapter: Path) -> int | None:
    """How many weights: as the method tells, else as they lie in the adapter's files."""
    told = method.trainable(structure)
    saved = read_structure(adapter) if told is None else None
    return sum(map(prod, saved.weights.values())) if saved else told


def _size(folder: Path) -> int | None:
    """Bytes of a folder's weights; None where they are not there."""
    found = [each.stat().st_size for each in folder.glob("*.safetensors")]
    return sum(found) if found else None


def can_write(model: str, models: Path) -> bool:
    """Whether a model writes text, rather than only reading it. Raises ModelError where it can neither."""
    try:
        check_use(model, models, writes=True)
    except ModelError:
        check_use(model, models, writes=False)
        return False
    return True


def lines(card: Card) -> list[tuple[str, str, str]]:
    """(Name, value, what it means) of all that is known, in words."""
    found = [("Parameters", _short(card.parameters), "Numbers that the model is made of.")]
    if card.trainable is not None and card.share is not None:
        learnt = f"{_short(card.trainable)} ({card.share:.2%})"
        found.append(("Learnt", learnt, "Those of them that training changed or added."))
    if card.disk is not None:
        found.append(("On disk", size(card.disk), "The base's files of weights."))
    if card.saved is not None:
        found.append(("Saved by the run", size(card.saved), "What lies beside the base's files."))
    found.append(("Weights in memory", size(card.weights), "In the number format that is taken on this machine."))
    if card.cache:
        cached = f"{size(card.cache)} a token"
        found.append(("Kept while it writes", cached, "Keys and values of each token it has read or written."))
    if card.flops is not None:
        counted = _short(card.flops, "FLOPs")
        why = f"Forward, a multiplication and an addition being two, amid {card.context} tokens (arXiv:2001.08361)."
        found.append(("Work a token", counted, why))
    if (forward := card.forward) is not None:
        found.append((
            "Forward pass",
            f"{forward.milliseconds:,.3g} ms",
            f"{card.context} tokens, {forward.dtype} on {forward.machine}: the median of {forward.passes} passes, "
            f"the slowest {forward.slowest:,.3g} ms.",
        ))  # fmt: skip
        found.append(("Memory at most", f"{forward.peak:.2f} GB", "Of the process that measured, loading included."))
    if card.rate is not None:
        found.append(("Speed of computing", _short(card.rate, "FLOPs/s"), "What those passes made of the machine."))
    return found


def _short(number: float, unit: str = "") -> str:
    """Such as '134.5 M' or '269 MFLOPs'."""
    size, letter = next(
        (each for each in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if number >= each[0]), (1, "")
    )
    return f"{number / size:,.4g} {letter}{unit}".rstrip()
