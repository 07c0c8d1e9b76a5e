"""Let a model read what went wrong, and write the prompt anew."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from studio.errors import ConfigError, StudioError
from studio.prompt import PLACEHOLDER, Prompt
from studio.prompts import Bench, Spent
from studio.prompts._examples import Arm, WithExamples, drawn
from studio.settings import setting

if TYPE_CHECKING:
    from gepa.core.adapter import EvaluationBatch

PARTS = {"system": "system text", "template": "instruction"}  # what is rewritten, and what it is called
_SHOTS = "demonstrations"  # a third part, that is drawn
_HOW = "rewritten by a model that saw what went wrong"
_IN_VAIN = 5  # times in a row that nothing usable was written, after which nothing more is hoped for
_SHOWN = 600  # characters of a text; what reads them may have a small window
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)

# In GEPA's form: the two names between < and > are filled in by it.
_ASK = """An assistant answers requests. This is its {part}, which may be empty:
```
<curr_param>
```
{beside}
Here are requests, what it answered, what would have been right, and a score; a higher one is better:

<side_info>
Write a better {part}. Say what the task is, what form an answer takes, and what these requests teach that holds for \
others too; do not repeat them. {rule}Reply with the new {part} alone, between two lines of ```."""
_BESIDE = "Its {part} stands beside it and stays:\n```\n{text}\n```\n"
_RULE = "Keep {each}: that is where the request is put in. "


class Reflective(WithExamples):
    """GEPA: of the prompts that are best on some row, one is drawn, and rewritten by a model that sees how it fails.

    Agrawal et al. 2025, arXiv:2507.19457. What is written counts when it does better on the rows that were shown. In
    turn with the texts the examples before the request are drawn anew, which takes no writing.
    """

    title: ClassVar[str] = "Reflection"
    about: ClassVar[str] = (
        "A model reads answers and scores and rewrites the prompt; in turn with it, examples are drawn anew. It takes "
        "a capable one: name an endpoint, for small models rarely mend their own prompts."
    )

    proposals: int = setting(
        40,
        "Rewritings at most",
        ge=1,
        le=10_000,
        help="The search ends after so many, if nothing ends it before.",
        source="Agrawal et al. 2025, arXiv:2507.19457",
    )
    shown: int = setting(
        4,
        "Rows shown",
        ge=1,
        le=32,
        advanced=True,
        help="So many rows and answers are read for each rewriting.",
        source="Agrawal et al. 2025, arXiv:2507.19457",
    )

    def search(self, bench: Bench) -> None:
        from gepa.api import optimize
        from gepa.utils import MaxCandidateProposalsStopper, ScoreThresholdStopper

        reflection = _Reflection(bench, drawn(bench, self.shots, self.proposals))
        places, enough = list(range(len(bench.examples))), bench.highest - 1e-9
        optimize(
            seed_candidate=reflection.first(),
            trainset=places,
            adapter=reflection,  # pyright: ignore[reportArgumentType] - its protocol takes no method for a proposer
            reflection_minibatch_size=min(self.shown, len(places)),
            perfect_score=enough,
            stop_callbacks=[
                MaxCandidateProposalsStopper(self.proposals),
                ScoreThresholdStopper(enough),
                lambda gepa_state: reflection.over is not None,
            ],
            logger=_Silent(),
            seed=bench.dice.randrange(2**31),
        )
        if reflection.over:
            raise reflection.over


class _Silent:
    def log(self, message: str) -> None: ...


class _Reflection:
    """GEPA's view of a bench (`GEPAAdapter`): what it calls a batch are places among the examples.

    GEPA takes what is raised while a text is written for bad luck and goes on; so that is kept in `over`.
    """

    def __init__(self, bench: Bench, sets: Iterator[Arm]) -> None:
        self._bench = bench
        self._sets = sets  # of examples, to be tried
        self._shown = [(bench.start.demonstrations, _HOW)]  # those tried so far; GEPA knows them by their number
        self._in_vain = 0
        self.over: Exception | None = None

    def first(self) -> dict[str, str]:
        """The first prompt as GEPA holds one: texts."""
        shots = {_SHOTS: "0"} if self._bench.pool else {}
        return {**{part: getattr(self._bench.start, part) for part in PARTS}, **shots}

    def evaluate(
        self, batch: list[int], candidate: dict[str, str], capture_traces: bool = False
    ) -> EvaluationBatch[int, float]:
        from gepa.core.adapter import EvaluationBatch

        rewritten = any(candidate[part] != text for part, text in self.first().items() if part in PARTS)
        how = _HOW if rewritten else self._shown[int(candidate.get(_SHOTS, 0))][1]
        scores = self._bench.score(self._prompt(candidate), batch, how)
        return EvaluationBatch(outputs=scores, scores=scores, trajectories=batch)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: EvaluationBatch[int, float], components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Only where it looked and what it got: answers may take calls, whose end must be heard."""
        seen = list(zip(eval_batch.trajectories or [], eval_batch.scores, strict=True))
        return {part: [{"place": place, "score": score} for place, score in seen] for part in components_to_update}

    def propose_new_texts(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """Nothing where nothing usable was written, or the search is over."""
        part = components_to_update[0]
        if part == _SHOTS:
            prompt, how = next(self._sets)
            self._shown.append((prompt.demonstrations, how))
            return {part: str(len(self._shown) - 1)}
        try:
            text = self._rewritten(self._prompt(candidate), part, reflective_dataset[part])
        except Exception as end:
            self.over = end
            return {}
        if text is not None:
            self._in_vain = 0
            return {part: text}
        self._in_vain += 1
        if self._in_vain == _IN_VAIN:
            self.over = Spent(f"The model that writes had nothing usable to say, {_IN_VAIN} times in a row.")
        return {}

    def _prompt(self, candidate: dict[str, str]) -> Prompt:
        texts = {part: candidate[part] for part in PARTS}
        shown, _ = self._shown[int(candidate.get(_SHOTS, 0))]
        return self._bench.start.model_copy(update={**texts, "demonstrations": shown})

    def _rewritten(self, prompt: Prompt, part: str, seen: Sequence[Mapping[str, Any]]) -> str | None:
        """None where that is empty, too long or what stood there before."""
        from gepa.strategies.instruction_proposal import InstructionProposalSignature as Gepa

        asked = self._asked(prompt, part, seen)
        try:
            said = _THOUGHT.sub("", self._bench.write([{"role": "user", "content": asked}]))
        except StudioError as error:
            raise Spent(f"The model that writes gave up: {error}") from None
        text = Gepa.output_extractor(said)["new_instruction"]
        if part == "template" and text:
            text = self._mended(text)
        try:
            Prompt.parse({**prompt.model_dump(), part: text})
        except ConfigError:
            return None
        return text if text.strip() and text != getattr(prompt, part) else None

    def _asked(self, prompt: Prompt, part: str, seen: Sequence[Mapping[str, Any]]) -> str:
        from gepa.strategies.instruction_proposal import InstructionProposalSignature as Gepa

        places = [each["place"] for each in seen]
        records = []
        for each, answer in zip(seen, self._bench.answers(prompt, places), strict=True):
            example = self._bench.examples[each["place"]]
            records.append(
                {
                    "Request": {name: _short(example.fields[name]) for name in self._placeholders},
                    "Answer": _short(answer),
                    "Right answer": _short(example.answer),
                    "Score": f"{each['score']:.3g}",
                }
            )
        names = " and ".join(f"{{{name}}}" for name in self._placeholders)
        rule = _RULE.format(each=names) if part == "template" else ""
        besides = [(PARTS[each], getattr(prompt, each)) for each in PARTS if each != part]
        beside = "".join(_BESIDE.format(part=title, text=text) for title, text in besides if text)
        rendered = Gepa.prompt_renderer(
            {
                "current_instruction_doc": getattr(prompt, part),
                "dataset_with_feedback": records,
                "prompt_template": _ASK.format(part=PARTS[part], beside=beside, rule=rule),
            }
        )
        assert isinstance(rendered, str)
        return rendered

    @property
    def _placeholders(self) -> list[str]:
        """Of the first prompt: what a person chose to show of a row."""
        named = dict.fromkeys(PLACEHOLDER.findall(self._bench.start.template))
        return [name for name in named if name in self._bench.examples[0].fields]

    def _mended(self, text: str) -> str:
        """With all placeholders of the first prompt, and of no other column, which might hold the right answer."""
        kept, known = self._placeholders, self._bench.examples[0].fields
        text = PLACEHOLDER.sub(lambda found: found[1] if found[1] in known and found[1] not in kept else found[0], text)
        return "\n\n".join([text, *(f"{{{name}}}" for name in kept if f"{{{name}}}" not in text)])


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
