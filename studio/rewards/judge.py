"""Let the model judge answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from studio.rewards import Answered, Reward, Scorer, Tools
from studio.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

_CUT = 3_000  # characters of each text that the judge is shown
_COMPARE = (
    "Compare two answers to the same task. The better answer is {criterion}.\n\n"
    "Task:\n{prompt}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}\n\n"
    "Which answer is better? Reply with A or B only."
)
_RATE = (
    "Judge an answer to a task. A good answer is {criterion}.\n\n"
    "Task:\n{prompt}\n\nAnswer:\n{answer}\n\n"
    "Is it {first} (A) or {second} (B)? Reply with A or B only."
)


class Judge(Reward):
    """The probability that the model, its adapter off, prefers the answer to the right one, or finds it good.

    Zheng et al. 2023, arXiv:2306.05685, sections 3.1 and 3.4. It is asked twice, with the two swapped, and what it
    says is averaged, for models prefer a place. Its answer is not written but read off: p(A) / (p(A) + p(B)) of the
    next token. 0.5: as good as the right answer. An empty answer scores 0.
    """

    title: ClassVar[str] = "Judge"
    about: ClassVar[str] = (
        "The model itself compares the answer with the right one, or rates it where the data has none. Small models "
        "judge poorly: preview it first."
    )
    asks_model: ClassVar[bool] = True

    criterion: str = setting(
        "correct, helpful and to the point",
        "What a good answer is",
        min_length=1,
        max_length=500,
        help="Ends the sentence 'A good answer is ...', which the model is told.",
        source="Zheng et al. 2023, arXiv:2306.05685",
    )

    def scorer(self, tools: Tools) -> Scorer:
        from studio.models.generate import encode
        from studio.rewards._model import needed, told, window

        needed(tools, self.title)
        reads = window(tools)
        option_a, option_b = (tools.tokenizer(each, add_special_tokens=False)["input_ids"][-1] for each in "AB")

        def says_a(_: int, log_probs: Tensor) -> float:
            return float(log_probs[-1, [option_a, option_b]].softmax(dim=0)[0])

        def score(answers: Sequence[Answered]) -> list[float]:
            questions = [question for each in answers for question in self._questions(each)]
            turns = [[{"role": "user", "content": question}] for question in questions]
            rows = [encode(tools.tokenizer, turn)[-reads:] for turn in turns]
            said = told(tools, rows, [1] * len(rows), says_a)
            return [
                (said[2 * place] + 1 - said[2 * place + 1]) / 2 if each.answer.strip() else 0.0
                for place, each in enumerate(answers)
            ]

        return score

    def _questions(self, each: Answered) -> tuple[str, str]:
        """The same twice: once the answer, or 'good', is A, and once it is B."""
        shown = {"criterion": self.criterion, "prompt": _task(each)}
        answer, reference = each.answer[:_CUT], each.reference[:_CUT]
        if reference.strip():
            pairs, asking = (answer, reference), _COMPARE
        else:
            pairs, asking = ("good", "bad"), _RATE
            shown["answer"] = answer
        first, second = pairs
        return asking.format(first=first, second=second, **shown), asking.format(first=second, second=first, **shown)


def _task(each: Answered) -> str:
    """What was asked; of a conversation, what was said before, too, as far as there is room."""
    asked = each.prompt[:_CUT]
    if not each.before:
        return asked
    before = "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in each.before)
    return f"{before[-_CUT:]}\n\nUser: {asked}"
