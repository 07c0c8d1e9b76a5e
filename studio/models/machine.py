"""What this machine has to offer a model, told without importing torch."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pynvml

from studio.processes import own_device

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


def processor() -> str:
    """What the CPU is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@cache
def torch_has_cuda() -> bool:
    """Whether the installed torch is a build that computes on NVIDIA GPUs; PyPI's for Windows, for one, is not."""
    spec = find_spec("torch")  # finds it without importing it
    if spec is None or spec.origin is None:
        return False
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return True  # not told: a GPU that is there was meant to be used
    return re.search(r"^cuda\b[^=\n]*=\s*None", text, re.MULTILINE) is None


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    used: int
    total: int

    @property
    def free(self) -> int:
        return self.total - self.used


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU as its driver tells of it; None is what this one does not tell."""

    name: str
    load: int | None  # % of the last moments in which it computed anything at all
    memory: Memory | None  # None where it shares the machine's
    celsius: int | None
    watts: float | None


@dataclass(frozen=True)
class Room:
    """Where a model would train, without its name: what it may take, in bytes, and in which formats it computes."""

    gpu: bool
    free: int
    total: int
    halves: bool  # 'auto' means 16 bits here


def room(nvml: Any = pynvml) -> Room:
    """Of the first NVIDIA GPU where torch can use one, else of the machine."""
    found = _trained_on(nvml)
    memory = (_gpu_memory(nvml, found) if found is not None else None) or host_memory()  # some share the machine's
    return Room(found is not None, memory.free, memory.total, bytes_per_parameter(nvml) == 2)


def host_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> Memory:
    """Of this machine, or of the container where its limit is the lower one; files that are only cached are free."""
    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    limit, used = _number_in(cgroup / "memory.max"), _number_in(cgroup / "memory.current")
    if limit is not None and used is not None:
        total, free = min(total, limit), max(0, min(free, limit - used + _cached_files(cgroup)))
    return Memory(total - free, total)


def gpus(nvml: Any = pynvml) -> list[Gpu]:
    """The GPUs that CUDA may use here, read now; none where there is no driver. `nvml` speaks pynvml's language.

    Whether a run would take one is for `room` to say.
    """
    return [_read(nvml, handle) for handle in _handles(nvml)]


def free_memory(nvml: Any = pynvml) -> int:
    """Bytes a model may take: of the first NVIDIA GPU where torch can use one, else of the machine."""
    return room(nvml).free


def bytes_per_parameter(nvml: Any = pynvml) -> int:
    """Of the number format that 'auto' takes here: 2 for 16 bits, 4 for float32."""
    on_apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    return 2 if on_apple or cpu_has_bfloat16() or _trained_on(nvml) is not None else 4


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


def _cached_files(cgroup: Path) -> int:
    """Bytes that a container's use counts and that the kernel gives back when they are wanted."""
    try:
        lines = (cgroup / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


@cache
def _started(nvml: Any) -> bool:
    """Whether there is a driver to ask. Starting it may take a second: once for a process."""
    try:
        nvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return True


def _handles(nvml: Any) -> Iterator[Any]:
    """The GPUs in the order of CUDA_VISIBLE_DEVICES, else the driver's; as CUDA does, up to one that is not there."""
    if not _started(nvml):
        return
    try:
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        for name in map(str, range(nvml.nvmlDeviceGetCount())) if named is None else named.split(","):
            by_index = name.strip().isdigit()
            yield nvml.nvmlDeviceGetHandleByIndex(int(name)) if by_index else nvml.nvmlDeviceGetHandleByUUID(name)
    except pynvml.NVMLError:
        return


def devices(nvml: Any = pynvml) -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that a run can take; one name where there is none: the CPU takes one."""
    there = len(list(_handles(nvml))) if torch_has_cuda() else 0
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = list(map(str, range(there))) if named is None else named.split(",")[:there]
    return names or [own_device()]


def _trained_on(nvml: Any) -> Any:
    """The GPU that a run takes, or None."""
    return next(_handles(nvml), None) if torch_has_cuda() else None


def _read(nvml: Any, handle: Any) -> Gpu:
    name, rates, watts = (
        _told(ask, handle)
        for ask in (nvml.nvmlDeviceGetName, nvml.nvmlDeviceGetUtilizationRates, nvml.nvmlDeviceGetPowerUsage)
    )
    return Gpu(
        name=name or "GPU",
        load=rates.gpu if rates else None,
        memory=_gpu_memory(nvml, handle),
        celsius=_told(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        watts=None if watts is None else watts / 1000,
    )


def _gpu_memory(nvml: Any, handle: Any) -> Memory | None:
    info = _told(nvml.nvmlDeviceGetMemoryInfo, handle)
    return Memory(info.total - info.free, info.total) if info else None


def _told(ask: Callable[..., Any], *about: Any) -> Any:
    """None where this GPU does not tell."""
    try:
        return ask(*about)
    except pynvml.NVMLError:
        return None


def peak_memory() -> float:
    """GB held at most so far: on the GPU where there is one, else of this process; 0 where nothing tells."""
    import torch

    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else peak_host_memory()


def peak_host_memory() -> float:
    """GB of the machine's memory that this process held at most so far; 0 where nothing tells."""
    with suppress(OSError):  # not getrusage: that counts the parent's memory, too
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    return getattr(psutil.Process().memory_info(), "peak_wset", 0) / 1e9


def forget_peak_memory() -> None:
    """From here on it counts anew; not where neither a GPU nor Linux is: there the peak of before stays."""
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
