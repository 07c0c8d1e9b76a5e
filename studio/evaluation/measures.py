"""What answers are measured by, and which measures suit which answers.

Each measure turns rows into statistics that add up, and their sums into a number: so that any of them has an interval
and can be tested, the corpus measures too, which are no means over rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from studio.evaluation import metrics
from studio.evaluation.scores import best_of
from studio.evaluation.shape import Kind
from studio.sandbox import Outcome

if TYPE_CHECKING:
    from studio.evaluation.paired import Array

# Those of a head of numbers are quantities: written numbers may be meant to the letter, such as a year.
AnswerKind = Kind | Literal["text", "code", "quantity"]

OTHER = "(another answer)"
_NUMBER = re.compile(r"(?:(?<!\w)[-+][$€£]?)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Measure:
    """One number of many answers."""

    key: str
    title: str
    about: str
    score: Callable[[Array], Array]  # sums over rows, shape (draws, statistics) → shape (draws,)
    # (references, answers) → shape (rows, statistics); None where these come from the model itself
    stats: Callable[[Sequence[str], Sequence[str]], Array] | None = None
    higher: bool = True  # is better
    share: bool = True  # from 0 to 1, else in a unit of its own
    signature: str = ""  # with which others can compute the same
    by_row: bool = True  # whether a single row's is worth looking at
    fits: Callable[[str], bool] = lambda _: True  # whether it can say anything of a reference, and of an answer


def measures(kind: AnswerKind, references: Sequence[str], several: str | None = None) -> list[Measure]:
    """Those that suit such references, the one that is spoken of first. `several` parts labels within an answer.

    Those of code look at what came of the programs in the answers, in the answers' place.
    """
    if kind == "code":
        return _of_programs()
    if kind == "json":
        return [_mean(metrics.field_accuracy), _mean(metrics.valid_json), _mean(metrics.exact_match)]
    if kind == "labels":
        return _of_labels(labels_of(references, several), several)
    if kind in ("number", "quantity"):
        found = [_mean(metrics.exact_match), _off()]
        return found if kind == "number" else found[::-1]
    return [_mean(metrics.token_f1), _mean(metrics.rouge_l), _bleu(), _chrf(), _mean(metrics.exact_match)]


def _mean(metric: Callable[[list[str], list[str]], float]) -> Measure:
    """A metric that is a mean over rows."""
    title, _, about = metrics.LABELS[metric.__name__].partition(": ")
    about = about[0].upper() + about[1:]
    return Measure(metric.__name__, title, about, _over_rows, lambda right, said: _each(metric, right, said))


def _each(metric: Callable[[list[str], list[str]], float], right: Sequence[str], said: Sequence[str]) -> Array:
    import numpy as np

    return np.array([[metric([one], [other]), 1.0] for one, other in zip(right, said, strict=True)]).reshape(-1, 2)


def _over_rows(sums: Array) -> Array:
    return sums[:, 0] / sums[:, 1]


def _of_programs() -> list[Measure]:
    def share(key: str, title: str, about: str, counted: Callable[[Outcome], bool]) -> Measure:
        def one(_: list[str], why: list[str]) -> float:
            return float(counted(Outcome(why[0])))

        return Measure(key, title, about, _over_rows, lambda right, whys: _each(one, right, whys))

    passed = "Share of answers whose program passes all its tests, one answer to each row (Chen et al. 2021)."
    ran = "Share of answers that are programs and run through their tests without failing by themselves."
    return [
        share("pass_at_1", "pass@1", passed, lambda each: each.passed),
        share("execution_rate", "Execution rate", ran, lambda each: each.ran),
    ]


def of_several(count: int) -> dict[int, Measure]:
    """k → pass@k, of `count` programs a task; their statistics come from `passing`."""
    about = f"How likely one of {{}} passes all tests, told by {count} programs a task (Chen et al. 2021, eq. 1)."
    return {
        k: Measure(f"pass_at_{k}_of_{count}", f"pass@{k}, of {count}", about.format(k), _over_rows, by_row=False)
        for k in (*(each for each in (1, 2, 5, 10, 20, 50, 100) if each < count), count)
    }


def passing(whys: Sequence[Sequence[str]], k: int) -> Array:
    """Statistics of pass@k, shape (tasks, 2): 1 − C(n − c, k) / C(n, k) of each, where c of its n programs passed."""
    import numpy as np

    found = [[float(Outcome(why).passed) for why in each] for each in whys]
    return np.array([[best_of(np.array([each]))[k - 1], 1.0] for each in found]).reshape(-1, 2)


# -- labels ---------------------------------------------------------------------------------------------


def labels_of(references: Sequence[str], several: str | None = None) -> list[str]:
    """All that are right somewhere."""
    return sorted({label for each in references for label in _named(each, several)})


def _named(answer: str, several: str | None) -> set[str]:
    """One label, or where there may be several: a list of JSON, which is what heads say, or parts of a text."""
    listed = metrics.json_of(answer) if several is not None else None
    parts = map(str, listed) if isinstance(listed, list) else answer.split(several) if several else [answer]
    return {label for each in parts if (label := each.strip())}


def _of_labels(labels: Sequence[str], several: str | None) -> list[Measure]:
    """Accuracy, and macro averages: every label counts the same. Labels no draw has are left out of its average."""
    count = len(labels)

    def stats(right: Sequence[str], said: Sequence[str]) -> Array:
        """A row's hits, labels given and labels right, of each label in turn."""
        import numpy as np

        pairs = [(_named(one, several), _named(other, several)) for one, other in zip(right, said, strict=True)]
        rows = [[each in found for found in (one & other, other, one) for each in labels] for one, other in pairs]
        return np.array(rows, dtype=float).reshape(-1, 3 * count)

    def macro(top: Callable[..., Any], under: Callable[..., Any]) -> Callable[[Array], Array]:
        def score(sums: Array) -> Array:
            import numpy as np

            hits, given, rows = sums[:, :count], sums[:, count : 2 * count], sums[:, 2 * count :]
            each = top(hits) / np.maximum(under(given, rows), 1e-9)
            seen = (given + rows) > 0.5  # the sums come from 32 bits
            return (each * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)

        return score

    def exact(right: Sequence[str], said: Sequence[str]) -> Array:
        import numpy as np

        same = [_named(one, several) == _named(other, several) for one, other in zip(right, said, strict=True)]
        return np.array([[each, 1.0] for each in same], dtype=float).reshape(-1, 2)

    every = "every label counts the same"
    return [
        Measure("accuracy", "Accuracy", "Share of rows whose label is right.", _over_rows, exact),
        Measure(
            "f1",
            "Macro F1",
            f"The mean of the labels' F1; {every}.",
            macro(lambda hits: 2 * hits, lambda given, rows: given + rows),
            stats,
            by_row=False,
        ),
        Measure(
            "precision",
            "Macro precision",
            f"How often a label that was given is right; {every}.",
            macro(lambda hits: hits, lambda given, rows: given),
            stats,
            by_row=False,
        ),
        Measure(
            "recall",
            "Macro recall",
            f"How many of a label's rows were found; {every}.",
            macro(lambda hits: hits, lambda given, rows: rows),
            stats,
            by_row=False,
        ),
    ]


# -- numbers --------------------------------------------------------------------------------------------


def _off() -> Measure:
    return Measure(
        "error",
        "Mean absolute error",
        "How far the last number of an answer is from the right one, on the average.",
        _over_rows,
        lambda right, said: _each(_distance, right, said),
        higher=False,
        share=False,
        fits=lambda text: math.isfinite(_number(text)),
    )


def _distance(right: list[str], said: list[str]) -> float:
    return abs(_number(right[0]) - _number(said[0]))


def _number(text: str) -> float:
    """The last number in a text: in '5-10' that is 10, in '1,234.5 km' 1234.5. NaN where there is none."""
    found = _NUMBER.findall(text)
    return float(re.sub("[,$€£]", "", found[-1])) if found else math.nan


# -- corpus measures ------------------------------------------------------------------------------------


def _bleu() -> Measure:
    about = "How many sequences of one to four words the answers share with the references, from 0 to 100."
    return _of_sacrebleu("bleu", "BLEU", f"{about} Papineni et al. 2002.")


def _chrf() -> Measure:
    about = "The same of sequences of one to six letters, as an F score: milder on other forms of a word."
    return _of_sacrebleu("chrf", "chrF", f"{about} Popović 2015.")


@cache
def _sacrebleu(key: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return BLEU(force=True) if key == "bleu" else CHRF()  # `force` only silences a warning about tokenised text


def _of_sacrebleu(key: str, title: str, about: str) -> Measure:
    """Rows' counts and what they come to are sacrebleu's, by the same two calls as its own significance tests."""

    def stats(right: Sequence[str], said: Sequence[str]) -> Array:
        import numpy as np

        return np.array(_sacrebleu(key)._extract_corpus_statistics(list(said), [list(right)]), dtype=float)

    def score(sums: Array) -> Array:
        import numpy as np

        # Whole numbers, as sums of 32 bits may be off by a trifle.
        counts = np.rint(sums).astype(int).tolist()
        return np.array([_sacrebleu(key)._compute_score_from_stats(each).score for each in counts])

    _sacrebleu(key)._extract_corpus_statistics(["a"], [["a"]])  # it knows its references' number from then on
    return Measure(
        key, title, about, score, stats, share=False, signature=str(_sacrebleu(key).get_signature()), by_row=False
    )


# -- likelihood -----------------------------------------------------------------------------------------


def likely(tokens_alike: bool, has_bytes: bool) -> list[Measure]:
    """Of rows of (nats, tokens, bytes): how likely the right answers are. Nats are minus log-probabilities.

    Loss is Σ nats / Σ tokens, perplexity its exponential: both weigh every token the same and depend on how a tokenizer
    divides a text. Bits per byte, Σ nats / (ln 2 · Σ bytes) with the bytes of the text in UTF-8, do not (Gao et al.
    2020, arXiv:2101.00027, section 3.1). The token that ends an answer counts in nats and tokens; it has no bytes.
    """

    def measure(key: str, title: str, about: str, score: Callable[[Array], Array]) -> Measure:
        return Measure(key, title, about, score, higher=False, share=False)

    def loss(sums: Array) -> Array:
        return sums[:, 0] / sums[:, 1]

    def perplexity(sums: Array) -> Array:
        import numpy as np

        return np.exp(np.minimum(loss(sums), 50))

    found = []
    if has_bytes:
        about = "How many bits a byte of the right text takes to say: comparable whatever the tokenizer."
        found.append(
            measure("bits_per_byte", "Bits per byte", about, lambda sums: sums[:, 0] / (math.log(2) * sums[:, 2]))
        )
    beside = "" if tokens_alike else " These models divide text otherwise, so it says nothing of which is better."
    found.append(measure("loss", "Loss", f"Nats a token of the right answer.{beside}", loss))
    if has_bytes:
        about = f"exp of the loss: among how many equally likely tokens the model wavers.{beside}"
        found.append(measure("perplexity", "Perplexity", about, perplexity))
    return found
