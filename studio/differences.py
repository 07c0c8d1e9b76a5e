"""In what several runs differ, and what to call each of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from studio.config import RunConfig
from studio.errors import StudioError
from studio.made import SHOWN, told
from studio.methods import methods
from studio.store import State

_MISSING = "–"
_ASIDE = ("comparison", "label", "version")  # says nothing of what a run does
_NAMED = 3  # differences in a name, at most


def flattened(config: dict[str, Any]) -> dict[str, str]:
    """'group.key' → value as text, defaults filled in; a config of a newer studio as it is."""
    with contextlib.suppress(StudioError):
        config = RunConfig.parse(config).to_dict()
    return dict(_leaves(config))


def _leaves(values: dict[str, Any], where: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        if where or key not in _ASIDE:
            name = f"{where}{key}"
            found += _leaves(value, f"{name}.") if isinstance(value, dict) else [(name, _text(value))]
    return found


def _text(value: Any) -> str:
    if value is None:
        return _MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def differences(
    configs: Sequence[dict[str, Any]], *, beside: Sequence[dict[str, str]] = (), everything: bool = False
) -> list[tuple[str, list[str]]]:
    """Key and each run's value of it, '–' where it has none; only the keys in which they differ, unless all.

    `beside` is what else is known of each run, as `circumstances` tells it.
    """
    flat = [flattened(config) for config in configs]
    flat = [each | more for each, more in zip(flat, beside, strict=True)] if beside else flat
    keys = dict.fromkeys(key for each in flat for key in each)
    lines = [(key, [each.get(key, _MISSING) for each in flat]) for key in keys]
    return [(key, values) for key, values in lines if everything or len(set(values)) > 1]


def circumstances(state: State) -> dict[str, str]:
    """What a run was made of beside its config: its rows, programs and machine, as far as its log tells."""
    found = {"Device": state.model.device, "Number format": state.model.dtype} if state.model else {}
    if state.made:
        return found | told(state.made)
    return found | ({"Rows trained on (SHA-256)": state.data.fingerprint[:SHOWN]} if state.data else {})


def names(configs: Sequence[dict[str, Any]]) -> list[str]:
    """What tells each run from the others: its method, and within a method the settings that differ."""
    used = [str(config.get("method", {}).get("name", "")) for config in configs]
    labels = ["" for _ in configs]
    for method in dict.fromkeys(used):
        places = [at for at, name in enumerate(used) if name == method]
        lines = differences([configs[at] for at in places])[:_NAMED]
        title = [methods()[method].title if method in methods() else method]
        for order, at in enumerate(places):
            told = [f"{key.rpartition('.')[2]} {values[order]}" for key, values in lines]
            labels[at] = " · ".join((told or title) if len(places) == len(used) else title + told)
    # Runs that differ in nothing are told apart by their place in the list.
    return [f"{label} ({at + 1})" if labels.count(label) > 1 else label for at, label in enumerate(labels)]
