"""What fits on a machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from studio.models import machine
from studio.models.machine import (
    Gpu,
    Memory,
    bytes_per_parameter,
    fits,
    free_memory,
    gpus,
    host_memory,
    room,
    torch_has_cuda,
)
from tests.nvml import GB, Nvml, gpu


def test_the_verdict_follows_its_stated_formula() -> None:
    # 1.5 x 135 M x 2 bytes + 0.8 GB = 1.205 GB
    assert fits(135_000_000, 18_000_000_000, 2) == "fits: needs about 1.2 GB, 18 GB free"
    assert fits(135_000_000, 1_300_000_000, 2) == "tight: needs about 1.2 GB, 1.3 GB free"
    assert fits(4_000_000_000, 8_000_000_000, 2) == "too large: needs about 13 GB, 8.0 GB free"


def test_float32_needs_more() -> None:
    assert fits(10**9, 4_000_000_000, 2).startswith("tight")
    assert fits(10**9, 4_000_000_000, 4).startswith("too large")


def test_there_is_some_memory() -> None:
    assert 0 < free_memory() < 2**50


@pytest.fixture(autouse=True)
def every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a build of torch that computes on GPUs."""
    monkeypatch.setattr(machine, "torch_has_cuda", lambda: True)


def test_torch_is_told_from_its_file_what_it_says_itself() -> None:
    import torch

    assert torch_has_cuda() == (torch.version.cuda is not None)


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ("cuda: Optional[str] = None\nhip = None\n", False),
        ("cuda: Optional[str] = '13.0'\n", True),
        ("cuda = None", False),
    ],
)
def test_builds_of_torch_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, has: bool
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    (tmp_path / "torch/version.py").write_text(f"__version__ = '2.13.0'\n{version}")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert torch_has_cuda.__wrapped__() == has


def test_a_gpu_that_torch_cannot_use_is_shown_but_takes_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "torch_has_cuda", lambda: False)
    monkeypatch.setattr(machine, "cpu_has_bfloat16", lambda: False)
    nvml = Nvml(gpu(total=2**60))
    assert len(gpus(nvml)) == 1
    assert not room(nvml).gpu
    assert room(nvml).total == host_memory().total
    assert free_memory(nvml) < 2**50
    assert bytes_per_parameter(nvml) == bytes_per_parameter(Nvml())


def test_gpus_tell_what_they_can() -> None:
    whole, silent = gpus(Nvml(gpu("A"), gpu("B", memory=False, load=False, celsius=False, watts=False)))
    assert whole == Gpu("A", 37, Memory(2 * GB, 24 * GB), 54, 120.4)
    assert silent == Gpu("B", None, None, None, None)


def test_without_a_driver_the_machine_counts() -> None:
    nowhere = Nvml()
    assert gpus(nowhere) == []
    assert gpus(nowhere) == []
    assert nowhere.started == 1  # a driver that is not there is not looked for at every sample
    assert 0 < free_memory(nowhere) <= host_memory().total


@pytest.mark.usefixtures("cuda")
def test_free_memory_of_a_gpu_is_asked_anew() -> None:
    nvml = Nvml(gpu(used=2 * GB), gpu(used=0))
    assert free_memory(nvml) == 22 * GB
    nvml.cards[0]["used"] = 20 * GB
    assert free_memory(nvml) == 4 * GB
    assert bytes_per_parameter(nvml) == 2


@pytest.mark.usefixtures("cuda")
def test_a_gpu_that_shares_the_machines_memory_has_none_of_its_own() -> None:
    assert free_memory(Nvml(gpu(memory=False, total=2**60))) < 2**50


@pytest.mark.parametrize(
    ("visible", "seen"),
    [("1", ["B"]), ("1,0", ["B", "A"]), ("GPU-B", ["B"]), ("0,7,1", ["A"]), ("", []), ("-1", [])],
)
def test_only_gpus_that_cuda_may_use_count(monkeypatch: pytest.MonkeyPatch, visible: str, seen: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [each.name for each in gpus(Nvml(gpu("A"), gpu("B")))] == seen


def test_a_containers_limit_counts_where_it_is_lower(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("100000000\n")
    (tmp_path / "memory.current").write_text("70000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 30000000\nactive_file 5\n")
    assert host_memory(tmp_path) == Memory(40_000_000, 100_000_000)  # files that are only cached are free
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory(tmp_path).total == host_memory(tmp_path / "none").total > 100_000_000
