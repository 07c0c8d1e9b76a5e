"""What this machine has to offer a model, told without importing torch."""

from __future__ import annotations

import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import psutil

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 twice, then ARM, as Linux spells them
_OVERHEAD = 800_000_000  # bytes that Python, torch and the libraries take before any model


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively; elsewhere it is emulated, slower than float32."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False  # not Linux: float32 is never wrong
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return bool(_BF16_FLAGS & set(flags.split()))


def free_memory() -> int:
    """Bytes a model may take: of the first NVIDIA GPU where there is one, else of the machine.

    A container's own limit counts where it is the lower one.
    """
    on_gpu = _free_gpu_memory()
    if on_gpu is not None:
        return on_gpu
    free = psutil.virtual_memory().available
    limit = _number_in(Path("/sys/fs/cgroup/memory.max"))
    used = _number_in(Path("/sys/fs/cgroup/memory.current"))
    return free if limit is None or used is None else max(0, min(free, limit - used))


def bytes_per_parameter() -> int:
    """Of the number format that 'auto' takes here: 2 for 16 bits, 4 for float32."""
    on_apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return 2 if on_apple or cpu_has_bfloat16() or _free_gpu_memory() is not None else 4


def fits(parameters: int, free_bytes: int, bytes_each: float | None = None) -> str:
    """Whether LoRA training of a model fits, in a line.

    A rule of thumb: 1.5 x weights + 0.8 GB. The weights are `parameters` x `bytes_each` (of this
    machine's number format unless given); the half on top is for activations, adapter and optimiser
    at the default batch, the rest for the libraries.
    """
    each = bytes_per_parameter() if bytes_each is None else bytes_each
    needed = 1.5 * parameters * each + _OVERHEAD
    verdict = "fits" if needed <= 0.8 * free_bytes else "tight" if needed <= free_bytes else "too large"
    return f"{verdict}: needs about {_gigabytes(needed)}, {_gigabytes(free_bytes)} free"


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number < 9.95e9 else f"{number / 1e9:.0f} GB"


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # no such limit ("max"), or no cgroups at all


@cache
def _free_gpu_memory() -> int | None:
    """Asked once: starting the tool takes long, and the page asks at every change of its form."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    question = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(question, capture_output=True, text=True, timeout=10, check=True).stdout
        return int(said.split()[0]) * 1024 * 1024
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
