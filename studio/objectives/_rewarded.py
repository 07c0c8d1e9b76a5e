"""What the objectives that learn from rewards share: prompts in, answers drawn, scored, and made likelier or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from studio.catalog import key_of
from studio.data.formats import FORMATS
from studio.data.kept import NOWHERE, Kept
from studio.errors import ConfigError, ModelError
from studio.events import AnswersScored
from studio.objectives import Ending, Objective, Prepared, Progress
from studio.objectives.next_token import NextToken
from studio.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

    from studio.data.dataset import Dataset
    from studio.data.library import Opened
    from studio.data.templates import Mapping
    from studio.methods import Method
    from studio.training.advantages import Estimator
    from studio.training.rollouts import Rollout

SCORED = 16  # held-out prompts answered at each evaluation: they are written out, which takes its time
_CAREFUL = 0.5  # times the rate of next-token training: what is learnt from is drawn by chance


@dataclass(frozen=True)
class PreparedPrompts(Prepared):
    """Prompts, and how their answers are learnt from."""

    how: Rewarded = field(kw_only=True)


@dataclass(frozen=True)
class Credit:
    """What each token of a rollout's answers is to be blamed or praised for, of shape (answers, longest answer)."""

    advantages: Tensor
    returns: Tensor | None = None  # what the critic should have expected; None without one


class Rewarded(Objective):
    """A policy that answers prompts and learns from what rewards give its answers."""

    formats: ClassVar[tuple[str, ...]] = tuple(key for key in FORMATS if key not in ("text", "labelled"))
    rewarded: ClassVar[bool] = True
    critic: ClassVar[bool] = False  # learns what to expect, too

    max_length: int = setting(
        384,
        "Cut-off length",
        ge=16,
        le=1_000_000,
        unit="tokens",
        help="Room for a prompt and its answer. Prompts are never cut: longer ones are left out, and the run says how "
        "many were.",
    )
    max_completion_length: int = setting(
        48,
        "Longest answer",
        ge=1,
        le=100_000,
        unit="tokens",
        help="Answers are drawn up to here. Time and memory grow with it.",
    )
    temperature: float = setting(
        1.0,
        "Temperature",
        gt=0,
        le=5,
        advanced=True,
        help="At which answers are drawn, and their probabilities taken. At 1 the model speaks as it is.",
        source="Hinton et al. 2015, arXiv:1503.02531, eq. 1",
    )
    kl_coef: float = setting(
        0.05,
        "KL coefficient",
        ge=0,
        le=10,
        search=(0.005, 0.5),
        help="What each nat costs by which the model drifts from where it started. Higher keeps it closer to how it "
        "spoke; 0 lets it go.",
        source="Ziegler et al. 2019, arXiv:1909.08593, eq. 2",
    )
    cliprange: float = setting(
        0.2,
        "Clip range",
        gt=0,
        lt=1,
        advanced=True,
        help="An update gains nothing from making a token more than this share likelier or less likely.",
        source="Schulman et al. 2017, arXiv:1707.06347, eq. 7",
    )
    num_ppo_epochs: int = setting(
        2,
        "Passes over the answers",
        ge=1,
        le=32,
        advanced=True,
        unit="passes",
        help="How often each batch of answers is learnt from before new ones are drawn.",
        source="Schulman et al. 2017, arXiv:1707.06347, algorithm 1",
    )
    num_mini_batches: int = setting(
        1,
        "Mini-batches",
        ge=1,
        le=1024,
        advanced=True,
        unit="updates a pass",
        help="Each pass takes so many updates, each of its share of the answers.",
        source="Schulman et al. 2017, arXiv:1707.06347, algorithm 1",
    )
    stop_kl: float | None = setting(
        None,
        "End passes at",
        gt=0,
        le=100,
        advanced=True,
        unit="nats a token",
        help="Where an update has moved the answers' tokens this far, the passes over them end. Empty: never.",
        source="Schulman et al. 2017, arXiv:1707.06347, section 4; Dossa et al. 2021, doi:10.1109/ACCESS.2021.3106662",
    )
    missing_eos_penalty: float = setting(
        0.0,
        "Penalty for no end",
        ge=0,
        le=1000,
        advanced=True,
        help="Taken from the score of an answer that did not end by itself.",
        source="Huang et al. 2024, arXiv:2403.17031",
    )
    reward_scaling: bool = setting(
        False,
        "Scale scores",
        advanced=True,
        help="Divides scores by their standard deviation so far: for rewards of large or unknown size.",
        source="Engstrom et al. 2020, arXiv:2005.12729, section 3",
    )
    reward_clip: float | None = setting(
        None,
        "Clip scores at",
        gt=0,
        le=1e6,
        advanced=True,
        help="A score counts at most this much, up or down. Empty: all of it.",
        source="Engstrom et al. 2020, arXiv:2005.12729, section 3",
    )
    entropy_floor: float = setting(
        0.01,
        "Entropy floor",
        ge=0,
        le=10,
        advanced=True,
        unit="nats a token",
        help="Below it the model says the same whatever it is asked: the run stops and keeps the last good weights.",
        source="Cui et al. 2025, arXiv:2505.22617, on why it falls",
    )

    # -- what subclasses say -------------------------------------------------------------------------

    def answers_each(self) -> int:
        """How many answers are drawn to a prompt."""
        return 1

    def estimator(self) -> Estimator:
        """How the KL of a token is estimated."""
        return "k3"

    def credit(self, rollout: Rollout, kl: Tensor, kl_coef: float) -> Credit:
        """What its tokens are to be blamed or praised for; `kl` is an estimate a token."""
        raise NotImplementedError

    def kl_in_loss(self) -> bool:
        """Whether the KL is a part of the loss, rather than of the reward."""
        return False

    def value_rank(self) -> int:
        """Of the critic's own adapter; 0: it has none."""
        return 0

    def next_kl_coef(self, kl_coef: float, kl: float, answers: int) -> float:
        """The coefficient after an update whose answers lay `kl` nats each from the reference."""
        return kl_coef

    # -- what Objective asks -------------------------------------------------------------------------

    def drawn(self) -> int:
        return self.answers_each() * self.max_completion_length

    def check(self, opened: Opened) -> None:
        if self.max_completion_length >= self.max_length:
            raise ConfigError(
                f"The longest answer, {self.max_completion_length:,} tokens, leaves a prompt no room: the cut-off "
                f"length is {self.max_length:,}.",
                remedy="Raise 'Cut-off length', or lower 'Longest answer'.",
            )

    def learning_rate(self, method: Method) -> float:
        return _CAREFUL * method.learning_rate

    def prepare(
        self,
        train: Dataset,
        validation: Dataset | None,
        mapping: Mapping,
        tokenizer: Any,
        progress: Progress,
        kept: Kept = NOWHERE,
    ) -> PreparedPrompts:
        from studio.data.prompts import Prompted, encode_prompts
        from studio.data.tokens import Report
        from studio.errors import DatasetError

        longest = self.max_length - self.max_completion_length
        settings = {"objective": key_of(self), "longest": longest, "mapping": mapping.plain()}

        def encoded(dataset: Dataset, told: Progress | None) -> tuple[Any, dict[str, int]]:
            return kept.rows(
                Prompted,
                dataset,
                tokenizer,
                settings,
                lambda: encode_prompts(dataset.rows, mapping, tokenizer, longest, told),
            )

        prompts, counts = encoded(train, progress)
        held_out: Any = []
        if validation is not None and validation.rows:
            try:
                held_out = encoded(validation, None)[0][:SCORED]
            except DatasetError:  # nothing to score on is no reason not to train
                held_out = []
        tokens = int(prompts.lengths.sum())
        notes = [f"{counts['long']:,} prompts longer than {longest:,} tokens were left out."] if counts["long"] else []
        report = Report(0, counts["long"] + counts["empty"], tokens, 0)
        return PreparedPrompts(prompts, held_out, report, notes=notes, how=self)

    def assemble(self, model: Any, prepared: Prepared) -> Any:
        from studio.models.valued import Valued

        reads = getattr(model.config, "max_position_embeddings", None)
        if reads is not None and self.max_length > reads:
            raise ModelError(
                f"The model reads {reads:,} tokens, and a prompt with its answer may have {self.max_length:,}.",
                remedy=f"Lower 'Cut-off length' to {reads:,} or less.",
            )
        return Valued(model, self.value_rank()) if self.critic else model

    def trainer(self) -> type[Any]:
        from studio.training.policy import PolicyTrainer

        return PolicyTrainer

    def compare(self, model: Any, ending: Ending) -> AnswersScored | None:
        return NextToken().compare(model, ending)


class Grouped(Rewarded):
    """Answers are held against the others to the same prompt: no critic."""

    num_generations: int = setting(
        4,
        "Answers a prompt",
        ge=2,
        le=64,
        unit="answers",
        help="Each prompt is answered so often; the answers are compared with each other.",
        source="Ahmadian et al. 2024, arXiv:2402.14740; Shao et al. 2024, arXiv:2402.03300",
    )

    def answers_each(self) -> int:
        return self.num_generations
