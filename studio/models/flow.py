"""What flows through a model for each token, and what of it a backward pass needs again. Told from shapes alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from math import prod

from studio.models.structure import Structure, is_embedding, is_norm, leads_back


@dataclass
class Sublayer:
    """The attention of a block, or its feed-forward part. Widths are numbers a token."""

    block: int
    attends: bool
    readers: dict[str, int] = field(default_factory=dict)  # layers that read the stream → their outputs
    last: dict[str, int] = field(default_factory=dict)  # layers that lead back to it → their inputs

    @property
    def gated(self) -> bool:
        """Whether two of its readers are multiplied with one another, as in SwiGLU."""
        return not self.attends and sum(self.readers.values()) > sum(self.last.values())


class Flow:
    """Numbers a token, by part of the model. Experts are left out: which ones see a token is not told by shapes."""

    def __init__(self, structure: Structure) -> None:
        tables = [shape for name, shape in structure.weights.items() if len(shape) == 2 and is_embedding(name)]
        self.vocabulary, self.hidden = max(tables, default=(0, 0))
        self.weights = sum(map(prod, structure.weights.values()))
        self.blocks = len(structure.blocks()) or 1
        self.sublayers = list(_sublayers(structure, self.hidden))
        self._norms = _norms(structure, self.sublayers, self.hidden)

    def frozen(self, first: int = 0) -> int:
        """What layers from block `first` on keep in the format of products, though none of them learns.

        The outputs of the readers, for attention and nonlinearities; what attention gave; one side of each gate.
        """
        return sum(
            sum(each.readers.values()) + (sum(each.last.values()) if each.attends or each.gated else 0)
            for each in self.sublayers
            if each.block >= first
        )

    def norms(self, first: int = 0) -> int:
        """What norms from block `first` on keep in float32: what they were given."""
        return sum(width for block, width in self._norms if block >= first)

    def inputs(self, layers: Collection[str], *, shared: bool = True) -> int:
        """What these layers were given. `shared`: readers of one sublayer keep the same tensor."""
        found = 0
        for each in self.sublayers:
            readers = sum(name in layers for name in each.readers)
            found += self.hidden * (min(1, readers) if shared else readers)
            found += sum(width for name, width in each.last.items() if name in layers)
        return found

    def outputs(self, layers: Collection[str]) -> int:
        """What these layers give."""
        return sum(
            width
            for each in self.sublayers
            for name, width in [*each.readers.items(), *dict.fromkeys(each.last, self.hidden).items()]
            if name in layers
        )

    @property
    def remembered(self) -> int:
        """Keys and values of all blocks."""
        attends = [each for each in self.sublayers if each.attends]
        return max(0, sum(sum(each.readers.values()) - sum(each.last.values()) for each in attends))

    @property
    def widest(self) -> int:
        """The most that the readers of one sublayer give."""
        return max((sum(each.readers.values()) for each in self.sublayers), default=self.hidden)


def _sublayers(structure: Structure, hidden: int) -> Iterator[Sublayer]:
    layers = structure.linear()
    for block, prefix in enumerate(structure.blocks() or [""]):
        parts = {attends: Sublayer(block, attends) for attends in (True, False)}
        for name, shape in layers.items():
            if not name.startswith(prefix):
                continue
            inner = name[len(prefix) :]
            part = parts["att" in inner.lower()]
            # Whichever way round its weight is held: one side is the stream's.
            other = shape[0] if shape[1] == hidden else shape[1]
            (part.last if leads_back(inner, attention=part.attends) else part.readers)[name] = other
        yield from parts.values()


def _norms(structure: Structure, sublayers: list[Sublayer], hidden: int) -> list[tuple[int, int]]:
    """(block, width) of each norm within a block; one over heads, such as q_norm, is as wide as q_proj's output."""
    found = []
    for block, prefix in enumerate(structure.blocks() or [""]):
        for name, shape in structure.weights.items():
            layer, _, last = name.rpartition(".")
            if last != "weight" or not is_norm(name) or not name.startswith(prefix):
                continue
            own = layer.rpartition(".")[2]
            wide = [
                width
                for each in sublayers
                if each.block == block and shape[0] != hidden
                for reader, width in each.readers.items()
                if reader.rpartition(".")[2][:2] == own[:2]
            ]
            found.append((block, max([shape[0], *wide])))
    return found
