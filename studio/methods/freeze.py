"""Some of the base's own weights learn."""

from __future__ import annotations

from fnmatch import fnmatchcase
from math import prod
from typing import Any, ClassVar

from studio.catalog import plain
from studio.errors import ConfigError
from studio.methods import Method
from studio.models.flow import Flow
from studio.models.structure import Structure, is_embedding, is_norm
from studio.settings import setting


class Freeze(Method):
    """Learn the last blocks, the embeddings, the norms or named weights of the base itself; freeze the rest.

    Lee et al. 2023, arXiv:2210.11466, section 3: which blocks are best depends on how the new data differ.
    """

    title: ClassVar[str] = "Partial (freeze the rest)"
    about: ClassVar[str] = "Learns chosen weights of the model itself, such as its last blocks."
    paper: ClassVar[str] = "Lee et al. 2023, arXiv:2210.11466"
    when: ClassVar[str] = (
        "When the last blocks are enough, as often in classification or for a style: quick, as nothing is "
        "computed backwards below the first block that learns."
    )
    cost: ClassVar[str] = (
        "16 bytes of memory for each weight that learns, 4 for a frozen one, 2 to 4 in main memory for the weight "
        "as it was; with the last two blocks less time than LoRA; 4 bytes on disk for each weight that learns."
    )
    family: ClassVar[str] = "weights"
    picks: ClassVar[str] = "pattern"
    learning_rate: ClassVar[float] = 1e-4
    dtype: ClassVar[str] = "float32"  # an update of a thousandth of a weight is lost in bfloat16
    in_place: ClassVar[bool] = True

    last_blocks: int = setting(
        2,
        "Last blocks",
        ge=0,
        le=1000,
        unit="blocks",
        search=(0, 12),
        help="So many of the blocks nearest to the output learn, and with them the norm behind the last.",
        source="Lee et al. 2023, arXiv:2210.11466, section 3",
    )
    embeddings: bool = setting(
        False, "Embeddings", help="The tokens' vectors learn too, and an output layer that is not tied to them."
    )
    norms: bool = setting(
        False,
        "Norms",
        help="The scales of every norm learn too: very few weights.",
        source="Zhao et al. 2024, arXiv:2312.11420",
    )
    pattern: str = setting(
        "",
        "Further weights",
        max_length=1000,
        help="Names with commas, in full or their ends, such as 'layers.0, down_proj'; * stands for anything, "
        "such as '*.1*.mlp'.",
    )

    def pickable(self, structure: Structure) -> list[str]:
        return list(dict.fromkeys(name.rpartition(".")[0] for name in structure.weights))

    def matched(self, structure: Structure) -> list[str]:
        """Names of the weights that learn, in the structure's order. Raises ConfigError for none."""
        blocks, names = structure.blocks(), structure.weights
        if self.last_blocks > len(blocks):
            raise ConfigError(
                f"'Last blocks' is {self.last_blocks}, but the model has {len(blocks)}.",
                remedy=f"Lower it to {len(blocks)} or less.",
            )
        last = tuple(blocks[len(blocks) - self.last_blocks :])
        chosen = {name for name in names if last and (name.startswith(last) or _ends(name, blocks))}
        if self.embeddings:
            chosen |= {name for name, shape in names.items() if len(shape) == 2 and is_embedding(name)}
        if self.norms:
            chosen |= {name for name in names if is_norm(name)}
        for pattern in filter(None, map(str.strip, self.pattern.split(","))):
            chosen |= _named(pattern, names)
        if not chosen:
            raise ConfigError(
                "No weight of the model would learn.",
                remedy="Set 'Last blocks' to 1 or more, or choose embeddings, norms or further weights.",
            )
        return [name for name in names if name in chosen]

    def check(self, structure: Structure) -> None:
        self.matched(structure)

    def trainable(self, structure: Structure) -> int:
        return sum(prod(structure.weights[name]) for name in self.matched(structure))

    def kept(self, structure: Structure) -> float:
        """See Method. Each layer keeps a copy of its own: the stream is float32, and is cast for each."""
        return Flow(structure).inputs({name.rpartition(".")[0] for name in self.matched(structure)}, shared=False)

    def first_block(self, structure: Structure) -> int:
        blocks, learning = structure.blocks(), self.matched(structure)
        if any(is_embedding(name) and not name.startswith("lm_head") for name in learning):
            return 0
        return next(
            (place for place, each in enumerate(blocks) if any(name.startswith(each) for name in learning)), len(blocks)
        )

    def attach(self, model: Any, steps: int = 0) -> Any:
        from studio.models.own import InPlace

        weights = dict(model.named_parameters())
        learning = self.matched(Structure({name: tuple(weight.shape) for name, weight in weights.items()}))
        model.requires_grad_(False)
        for name in learning:
            weights[name].requires_grad_(True)
        return InPlace(model, plain(self))


def _ends(name: str, blocks: list[str]) -> bool:
    """Whether that is the norm behind the last block."""
    return is_norm(name) and "embed" not in name.lower() and not name.startswith(tuple(blocks))


def _named(pattern: str, names: dict[str, tuple[int, ...]]) -> set[str]:
    """Weights whose name, or a stretch of it between two dots, is like `pattern`. Raises ConfigError for none."""
    found = {name for name in names if fnmatchcase(f".{name}.", f"*.{pattern}.*")}
    if not found:
        there = sorted({part for name in names for part in name.split(".")[:-1] if not part.isdigit()})
        raise ConfigError(
            f"No weight of the model is named like {pattern!r}.",
            remedy=f"Under 'Further weights' name parts such as: {', '.join(there[:20])}.",
        )
    return found
