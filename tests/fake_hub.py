"""Hugging Face Jobs and its buckets as folders of this machine: the same methods, and jobs that really run.

All it knows is on disk, so that several processes see the same. A `sitecustomize` (see test_cloud.py) puts it in the
place of `HfApi` in every process that a test starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from huggingface_hub import BucketFile, JobInfo, Volume

METHODS = (
    "whoami", "create_bucket", "bucket_info", "batch_bucket_files", "list_bucket_tree", "download_bucket_files",
    "run_uv_job", "list_jobs", "inspect_job", "fetch_job_logs", "cancel_job",
)  # fmt: skip

_SHELL = """
import json, subprocess, sys, time
job, timeout, *command = sys.argv[1:]
child = subprocess.Popen(command, stdout=open(job + "/log", "a"), stderr=subprocess.STDOUT)
message = None
try:
    stage = "ERROR" if child.wait(float(timeout)) else "COMPLETED"
    message = f"exit code {child.returncode}" if child.returncode else None
except subprocess.TimeoutExpired:
    stage, message = "ERROR", "Job timeout"
open(job + "/end.partial", "w").write(json.dumps([stage, message, time.time()]))
import os
os.replace(job + "/end.partial", job + "/end")
os.killpg(0, 9)
"""


class FakeHub:
    """What `studio.follower` uses of `HfApi`, with the same signatures."""

    def __init__(self) -> None:
        self.root = Path(os.environ["FAKE_HUB"])

    def whoami(self, token: Any = None, *, cache: bool = False) -> dict:
        return {"name": "somebody"}

    def create_bucket(
        self, bucket_id: str, *, private: bool | None = None, visibility: Any = None, resource_group_id: Any = None,
        region: Any = None, exist_ok: bool = False, token: Any = None,
    ) -> Any:  # fmt: skip
        (self.root / bucket_id).mkdir(parents=True, exist_ok=exist_ok)
        return SimpleNamespace(bucket_id=bucket_id)

    def bucket_info(self, bucket_id: str, *, token: Any = None) -> Any:
        return SimpleNamespace(private=not (self.root / "public").exists())

    def batch_bucket_files(
        self, bucket_id: str, *, add: Any = None, copy: Any = None, delete: Any = None, token: Any = None
    ) -> None:
        for local, name in add or ():
            target = self.root / bucket_id / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, target)
        for name in delete or ():
            (self.root / bucket_id / name).unlink()

    def list_bucket_tree(
        self, bucket_id: str, prefix: str | None = None, *, recursive: bool | None = None, token: Any = None
    ) -> Iterable[Any]:
        bucket = self.root / bucket_id
        for path in (bucket / (prefix or "")).rglob("*"):
            yield BucketFile(type="file", path=path.relative_to(bucket).as_posix(), size=0, xetHash="")

    def download_bucket_files(
        self, bucket_id: str, files: Any, *, raise_on_missing_files: bool = False, token: Any = None
    ) -> None:
        for name, local in files:
            shutil.copyfile(self.root / bucket_id / name, local)

    def run_uv_job(
        self, script: str, *, script_args: list[str] | None = None, dependencies: list[str] | None = None,
        python: str | None = None, image: str | None = None, env: dict[str, Any] | None = None,
        secrets: dict[str, Any] | None = None, flavor: Any = None, timeout: Any = None, attempts: int | None = None,
        name: str | None = None, labels: dict[str, str] | None = None, volumes: list[Volume] | None = None,
        expose: Any = None, expose_public: Any = None, ssh: bool = False, network_group: str | None = None,
        network_aliases: Any = None, resource_group_id: str | None = None, namespace: str | None = None,
        token: Any = None,
    ) -> JobInfo:  # fmt: skip
        job = self.root / "jobs" / f"job-{time.time_ns()}"
        job.mkdir(parents=True)
        given = (self.root / "seconds").read_text(encoding="ascii") if (self.root / "seconds").exists() else timeout
        mounted = {each.mount_path: str(self.root / each.source / (each.path or "")) for each in volumes or ()}
        alone = job / Path(script).name
        shutil.copyfile(script, alone)
        command = [sys.executable, str(alone), *(mounted.get(each, each) for each in script_args or ())]
        told = {
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            **(env or {}),
            **(secrets or {}),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", _SHELL, str(job), str(given), *command],
            env=told, cwd=job, start_new_session=True,
        )  # fmt: skip
        about = {
            "pid": process.pid, "labels": labels, "flavor": flavor, "timeout": timeout, "began": time.time(),
            "secrets": sorted(secrets or {}), "dependencies": dependencies, "python": python,
        }  # fmt: skip
        (job / "about.json").write_text(json.dumps(about), encoding="utf-8")
        if (self.root / "die").exists():  # after the job was made and before anybody here knows of it
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inspect_job(job_id=job.name)

    def list_jobs(
        self, *, status: Any = None, labels: dict[str, str] | None = None, timeout: int | None = None,
        namespace: str | None = None, token: Any = None,
    ) -> Iterable[JobInfo]:  # fmt: skip
        for job in sorted((self.root / "jobs").iterdir()):
            about = json.loads((job / "about.json").read_text(encoding="utf-8"))
            if (labels or {}).items() <= about["labels"].items():
                yield self.inspect_job(job_id=job.name)

    def inspect_job(self, *, job_id: str, namespace: str | None = None, token: Any = None) -> JobInfo:
        job = self.root / "jobs" / job_id
        about = json.loads((job / "about.json").read_text(encoding="utf-8"))
        stage, message, ended = "RUNNING", None, time.time()
        if (job / "end").exists():
            stage, message, ended = json.loads((job / "end").read_text(encoding="utf-8"))
        return JobInfo(
            id=job_id,
            owner={"id": "1", "name": "somebody", "type": "user"},
            status={"stage": stage, "message": message},
            started_at=time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(about["began"])),
            durations={"runningSecs": int(ended - about["began"] + 0.5)},
            flavor=about["flavor"],
            labels=about["labels"],
        )

    def fetch_job_logs(
        self, *, job_id: str, namespace: str | None = None, follow: bool = False, tail: int | None = None,
        token: Any = None,
    ) -> Iterable[str]:  # fmt: skip
        job = self.root / "jobs" / job_id
        ended, rest, offset = False, "", 0
        while not ended:
            ended = not follow or (job / "end").exists()
            text = (job / "log").read_text(encoding="utf-8") if (job / "log").exists() else ""
            *lines, rest = (rest + text[offset:]).split("\n")
            offset = len(text)
            yield from lines
            time.sleep(0.1 * (not ended))

    def cancel_job(self, *, job_id: str, namespace: str | None = None, token: Any = None) -> None:
        job = self.root / "jobs" / job_id
        if (job / "end").exists():
            return
        pid = json.loads((job / "about.json").read_text(encoding="utf-8"))["pid"]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        (job / "end").write_text(json.dumps(["CANCELED", None, time.time()]), encoding="utf-8")
