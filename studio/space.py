"""Which settings of a config can be searched, and where: all of it follows from the settings themselves."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.settings import Facts, facts
from studio.training.settings import TrainingSettings

Params = dict[str, Any]  # "group.setting" → value
Space = dict[str, list[Any]]  # "group.setting" → [lowest, highest], or what to choose from


@dataclass(frozen=True)
class Dimension:
    """A setting that can be searched, and where."""

    fact: Facts
    low: float = 0
    high: float = 0
    log: bool = False
    choices: tuple[Any, ...] = ()  # where it has no range

    def distribution(self) -> Any:
        """As optuna calls it."""
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution(self.choices)
        if self.fact.kind == "int":
            return distributions.IntDistribution(int(self.low), int(self.high), log=self.log)
        return distributions.FloatDistribution(self.low, self.high, log=self.log)

    def rounded(self, value: Any) -> Any:
        """As a person would write it, within the range."""
        if self.choices or self.fact.kind == "int":
            return value
        return min(max(float(f"{value:.3g}"), self.low), self.high)

    def holds(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


def offered(base: RunConfig) -> dict[str, Dimension]:
    """Name → setting of `base`'s method, all of which bear on what is learnt, and of training, where some say so."""
    found = {}
    for group, cls in (("training", TrainingSettings), ("method", type(base.method))):
        for fact in facts(cls):
            if fact.search or group == "method":
                found[f"{group}.{fact.name}"] = _dimension(fact)
    return {name: dimension for name, dimension in found.items() if dimension}


def _dimension(fact: Facts) -> Dimension | None:
    """None for what has neither bounds nor choices."""
    if fact.kind in ("bool", "choice"):
        return Dimension(fact, choices=(False, True) if fact.kind == "bool" else fact.choices)
    low, high = fact.search if isinstance(fact.search, tuple) else (fact.minimum, fact.maximum)
    if low is None or high is None:
        return None
    return Dimension(fact, low, high, log=low > 0 and high / low > 100)


def with_values(base: dict[str, Any], params: Params) -> RunConfig:
    """`base` with other values for some settings. Raises ConfigError."""
    values = copy.deepcopy(base)
    for name, value in params.items():
        group, _, field = name.partition(".")
        values[group][field] = value
    return RunConfig.parse(values)


def dimensions(base: RunConfig, space: Space) -> dict[str, Dimension]:
    """The settings that `space` names, within its ranges. Raises ConfigError."""
    known, values = offered(base), base.to_dict()
    if not space:
        raise ConfigError("No setting is chosen to be searched.", remedy="Choose one or more, such as 'Learning rate'.")
    found = {}
    for name, wanted in space.items():
        if name not in known:
            raise ConfigError(f"'{name}' cannot be searched.", remedy=f"Choose from: {', '.join(known)}.")
        found[name] = _narrowed(known[name], wanted)
        for value in found[name].choices or (found[name].low, found[name].high):
            with_values(values, {name: value})
    return found


def _narrowed(known: Dimension, wanted: list[Any]) -> Dimension:
    """Raises ConfigError."""
    label = known.fact.label
    if known.choices:
        if len(chosen := tuple(each for each in known.choices if each in wanted)) < 2:
            raise ConfigError(f"'{label}' has nothing to choose between.", remedy="Tick two or more of its values.")
        return Dimension(known.fact, choices=chosen)
    numbers = [each for each in wanted if isinstance(each, int | float) and math.isfinite(each)]
    if len(numbers) != 2 or len(wanted) != 2 or numbers[0] >= numbers[1]:
        raise ConfigError(f"'{label}' needs two numbers, the lower one first.", remedy="Mend its range.")
    low, high = numbers
    if known.fact.kind == "int" and not (float(low).is_integer() and float(high).is_integer()):
        raise ConfigError(f"'{label}' is counted: its range needs whole numbers.", remedy="Mend its range.")
    if known.fact.kind == "int":
        low, high = int(low), int(high)
    return Dimension(known.fact, low, high, log=known.log and low > 0)
