"""Reward answers as a reward model trained here scores them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from studio.errors import ConfigError, RewardError, RunError
from studio.rewards import Answered, Reward, Scorer, Tools
from studio.settings import setting

if TYPE_CHECKING:
    from studio.workspace import Workspace

_ROWS = 8  # scored at once


class Learned(Reward):
    """The number that a reward model's head gives for the answer behind its prompt, of a long one behind its end.

    Ziegler et al. 2019, arXiv:1909.08593, section 2.1; Ouyang et al. 2022, arXiv:2203.02155, section 3.5.
    """

    title: ClassVar[str] = "Learned"
    about: ClassVar[str] = "What a reward model of yours, trained on preference pairs, makes of the answer."
    lowest: ClassVar[float | None] = None
    highest: ClassVar[float | None] = None
    runs_of: ClassVar[tuple[str, ...]] = ("reward_model",)

    run: str = setting(
        "",
        "Reward model",
        max_length=100,
        help="A run with the objective 'Reward model' that was trained to its end.",
        source="Ouyang et al. 2022, arXiv:2203.02155",
    )

    def check(self, workspace: Workspace) -> None:
        if self._objective(workspace) not in self.runs_of:
            raise ConfigError(
                f"The reward 'Learned' needs a reward model, and '{self.run}' is no run here that learnt one.",
                remedy="Train one with the objective 'Reward model' on preference pairs, and set 'Reward model' to its "
                "id.",
            )
        if not workspace.run(self.run).adapter.is_dir():
            raise ConfigError(
                f"The reward model '{self.run}' has saved nothing yet.",
                remedy="Wait until that run is done, or choose another one.",
            )

    def _objective(self, workspace: Workspace) -> str:
        """What the run learnt; '' where it is none."""
        with contextlib.suppress(RunError, OSError, ValueError, LookupError, TypeError):
            return json.loads(workspace.run(self.run).config.read_text(encoding="utf-8"))["objective"]["name"]
        return ""

    def scorer(self, tools: Tools) -> Scorer:
        self.check(tools.workspace)
        from studio.data.pairs import encode_answers
        from studio.data.rendering import use_template
        from studio.models.heads import outputs
        from studio.trained import load_trained

        trained = load_trained(tools.workspace.run(self.run), tools.workspace, beside=tools.model)
        objective, tokenizer = trained.config.objective, trained.tokenizer
        use_template(tokenizer, objective.chat_template)  # pyright: ignore[reportAttributeAccessIssue]

        def score(answers: Sequence[Answered]) -> list[float]:
            said = [[*each.asked(), {"role": "assistant", "content": each.answer}] for each in answers]
            rows = []
            for ids, each in zip(encode_answers(said, tokenizer, objective.max_length), answers, strict=True):
                if ids is None:
                    raise RewardError(
                        f"An empty answer to '{each.prompt[:60]}' leaves the reward model nothing to score.",
                        remedy="Train a reward model with a chat template that marks an answer's end.",
                    )
                rows.append(ids)
            found = outputs(trained.model, rows, tokenizer.pad_token_id, _ROWS) if rows else ()
            return [number for (rewards,) in found for number in rewards[:, 0].tolist()]

        return score
