"""WHICH weights learn. One file per method; the file name is its key in a config."""

from __future__ import annotations

import sys
from typing import Any

from studio.catalog import Entry, discover


class Method(Entry):
    """Base of all methods: settings, and how they change a loaded model."""

    def quantization(self) -> Any | None:
        """The transformers quantization config the base is loaded with; None: as it is."""
        return None

    def attach(self, model: Any) -> Any:
        """Freeze `model` and give it what shall learn. Returns a peft.PeftModel.

        Raises ConfigError where the settings do not fit the model.
        """
        raise NotImplementedError

    def notes(self, device: str) -> list[str]:
        """What a person should know before this method runs on `device` ('cpu', 'cuda', 'mps')."""
        return []


def methods() -> dict[str, type[Method]]:
    """Key → settings class of every method there is."""
    return discover(sys.modules[__name__], Method)  # pyright: ignore[reportReturnType]
