"""WHAT of a written-out run is its objective's own. One file per objective; the file name is the objective's key.

Its `Program` says what stands in the files of rows and gives the stretches of the program in which objectives differ.
These are fixed text; what stands between « and » in it is filled in, and a value of the run by `repr` alone.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from studio.catalog import key_of
from studio.data.templates import Mapping as Columns
from studio.errors import ConfigError
from studio.exports import Source
from studio.exports import _texts as texts
from studio.exports._values import Named, about
from studio.objectives import Objective, objectives

if TYPE_CHECKING:
    from studio.data.dataset import Dataset

Line = dict[str, Any]  # of train.jsonl and eval.jsonl


class Program:
    """Base of what an objective gives to a program. A batch is a list of rows as the program reads them."""

    functions: str = ""  # of torch.nn.functional that the code calls
    items: ClassVar[str] = "len(rows)"  # what the loss of some rows is divided by
    smooths: bool = False  # 'Label smoothing' counts
    noisy: ClassVar[bool] = False  # so does 'Noise on embeddings'
    model: ClassVar[str] = "AutoModelForCausalLM"  # of transformers
    body: ClassVar[str] = "model"  # transformers' model, within what the program calls `model`
    imports: ClassVar[str] = ""  # a line beside transformers'
    begin: ClassVar[str] = texts.BEGIN  # the first score, and what learns
    groups: ClassVar[str] = texts.ALIKE  # of weights, for the optimizer
    decayed: ClassVar[str] = texts.DECAYED  # the same where some of them decay
    rate: ClassVar[str] = "LEARNING_RATE"  # of a group of weights
    save: ClassVar[str] = texts.SAVE

    def __init__(self, source: Source, train: Dataset, columns: Columns, config: Any, tokenizer: Any) -> None:
        """`config` is that of the base model, as transformers has it."""
        self.source = source
        self.columns = columns
        self.tokenizer = tokenizer

    @property
    def padded(self) -> bool:
        """Whether the run padded its rows, which also decides in what order they came."""
        config, made = self.source.config, self.source.state.made
        return bool(made.padded) if made else config.method.pads

    def words_on_rows(self) -> str:
        """What is said above the code that reads them."""
        raise NotImplementedError

    def words_on_loss(self) -> str:
        """What is said above the loss."""
        raise NotImplementedError

    def lines(self, dataset: Dataset) -> list[Line]:
        """Rows as the run saw them."""
        raise NotImplementedError

    def scored(self, dataset: Dataset) -> list[Line]:
        """Held-out rows, those first that each evaluation of the run scored."""
        return self.lines(dataset)

    def counts(self, lines: list[Line]) -> tuple[int, int]:
        """How many tokens these are, and how many of them the loss counts: as in the run's report."""
        raise NotImplementedError

    def named(self, *keys: str, **others: str) -> Named:
        """Settings of the objective under their own names in capitals, or by the names that `others` gives."""
        objective = self.source.config.objective
        names = {**{key.upper(): key for key in keys}, **others}
        return {name: (about(type(objective), key), getattr(objective, key)) for name, key in names.items()}

    def settings(self) -> Named:
        """The objective's own values."""
        return self.named("max_length")

    def template(self) -> str:
        """The line that sets a chat template, where the model's own was not used."""
        objective = self.source.config.objective
        if self.columns.format == "text" or getattr(objective, "chat_template", "auto") == "auto":
            return ""
        return f"tokenizer.chat_template = {self.tokenizer.chat_template!r}  # 'Chat template'\n"

    def settled(self) -> str:
        """What is done to the model once it is loaded."""
        return ""

    def reading(self) -> str:
        """Functions `read`, from a file's name to its rows, and `length` of one of them, in tokens."""
        raise NotImplementedError

    def loss(self) -> str:
        """The function `summed_loss` of some rows, from the helpers of `_texts.PADDED`."""
        raise NotImplementedError


def program_of(objective: Objective) -> type[Program]:
    """Raises ConfigError where the objective is not written out."""
    if not _there(key_of(objective)):
        titles = [f"'{cls.title}'" for key, cls in objectives().items() if _there(key)]
        raise ConfigError(
            f"'{objective.title}' is not written out: its loss and its data are the studio's own code.",
            remedy=f"Runs of {', '.join(titles[:-1])}{' and ' * (len(titles) > 1)}{titles[-1]} are.",
        )
    return import_module(f"{__name__}.{key_of(objective)}").Program


def _there(key: str) -> bool:
    return find_spec(f"{__name__}.{key}") is not None
