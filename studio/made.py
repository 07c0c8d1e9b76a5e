"""What a run is made of beside its config: rows, programs and machine, told in its log and held against another's."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from studio import __version__
from studio.events import Made
from studio.models.machine import processor

PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "numpy", "bitsandbytes",
    "liger-kernel", "jinja2",
)  # fmt: skip
SHOWN = 12  # letters of a hash: enough to tell two apart
_NAMES = {
    "rows": "Rows as read (SHA-256)",
    "held_out": "Held-out rows (SHA-256)",
    "studio": "Finetune Studio",
    "python": "Python",
    "packages": "Packages",
    "system": "System",
    "processor": "Processor",
    "gpu": "GPU",
    "threads": "Threads",
    "products": "Matrix products",
    "padded": "Rows are padded",
}


def gather(rows: str, held_out: str, products: str, padded: str) -> Made:
    """All of it, told by the process that trains; what cannot be asked of the machine is given. Imports torch."""
    import torch

    return Made(
        rows=rows,
        held_out=held_out,
        studio=__version__,
        python=platform.python_version(),
        packages=installed(),
        system=f"{platform.system()} {platform.machine()}",
        processor=processor(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        threads=torch.get_num_threads(),
        products=products,
        padded=padded,
    )


def installed() -> dict[str, str]:
    """Package → its version."""
    return {name: found for name in PACKAGES if (found := _version(name))}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def told(made: Made) -> dict[str, str]:
    """What it is called → its value, a line for each package; what is empty is left out."""
    found: dict[str, str] = {}
    for key, value in _plain(made).items():
        if isinstance(value, dict):
            found |= value
        elif value != "":
            found[_NAMES[key]] = value[:SHOWN] if key in ("rows", "held_out") else str(value)
    return found


def changes(before: Made, after: Made) -> list[str]:
    """What differs, such as 'torch 2.12.0 → 2.13.0'."""
    one, other = told(before), told(after)
    return [
        f"{name} {one.get(name, '–')} → {other.get(name, '–')}"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def _plain(made: Made) -> dict[str, Any]:
    return {key: value for key, value in asdict(made).items() if key != "time"}
