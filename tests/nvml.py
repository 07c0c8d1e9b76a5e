"""GPUs that need not be there: the part of pynvml that the studio calls, with pynvml's own exceptions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml

GB = 10**9


def gpu(name: str = "Card", used: int = 2 * GB, total: int = 24 * GB, **silent: bool) -> dict[str, Any]:
    """What a card tells; of `memory`, `load`, `celsius` or `watts` that are False it tells nothing."""
    return {"name": name, "used": used, "total": total, **silent}


class Nvml:
    """A driver with `cards`; without any there is no driver."""

    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, *cards: dict[str, Any]) -> None:
        self.cards = list(cards)
        self.started = self.counted = 0

    def nvmlInit(self) -> None:
        self.started += 1
        if not self.cards:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def nvmlDeviceGetCount(self) -> int:
        self.counted += 1
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if index >= len(self.cards):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:
        for card in self.cards:
            if uuid == f"GPU-{card['name']}":
                return card
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetName(self, card: dict[str, Any]) -> str:
        return card["name"]

    def nvmlDeviceGetMemoryInfo(self, card: dict[str, Any]) -> Any:
        self._told(card, "memory")
        return SimpleNamespace(used=card["used"], free=card["total"] - card["used"], total=card["total"])

    def nvmlDeviceGetUtilizationRates(self, card: dict[str, Any]) -> Any:
        self._told(card, "load")
        return SimpleNamespace(gpu=37, memory=12)

    def nvmlDeviceGetTemperature(self, card: dict[str, Any], sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        self._told(card, "celsius")
        return 54

    def nvmlDeviceGetPowerUsage(self, card: dict[str, Any]) -> int:
        self._told(card, "watts")
        return 120_400  # milliwatts

    def _told(self, card: dict[str, Any], fact: str) -> None:
        if not card.get(fact, True):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
