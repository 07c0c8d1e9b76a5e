"""Hugging Face Jobs and its buckets as folders of this machine: the same methods, and jobs that really run.

All it knows is on disk, so that several processes see the same. A `sitecustomize` (see test_cloud.py) puts it in the
place of `HfApi` in every process that a test starts.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class FakeServer:
    """The Hub's HTTP interface, as far as pushing a model to it goes: the real `HfApi` speaks to this one.

    `repos` are what it holds: name → {"private": bool, "files": {name: bytes}, "commits": [message]}. `refuse` are
    answers to give instead: the beginning of a path → (status, what is said).
    """

    def __init__(self, tokens: dict[str, str]) -> None:
        """`tokens`: each that is known → its role."""
        self.tokens = tokens
        self.repos: dict[str, dict[str, Any]] = {}
        self.refuse: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []  # methods and paths
        self.stored: dict[str, bytes] = {}  # large files, by their hash
        self.hold = threading.Event()  # cleared: uploads wait
        self.hold.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_HEAD = do_GET

    def _answer(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        body = self._body()
        hub.asked.append(f"{self.command} {path}")
        if refused := next((each for start, each in hub.refuse.items() if path.startswith(start)), None):
            return self._say(refused[0], {"error": refused[1]})
        if path.startswith("/upload/"):  # its address is the right to write there
            hub.hold.wait(30)
            hub.stored[path.rpartition("/")[2]] = body
            return self._say(200, {})
        if self._token() not in hub.tokens:
            return self._say(401, {"error": f"Invalid credentials {self.headers.get('authorization')}"})
        if path == "/api/whoami-v2":
            role = hub.tokens[self._token()]
            return self._say(200, {"type": "user", "name": "somebody", "auth": {"accessToken": {"role": role}}})
        if path == "/api/validate-yaml":
            return self._say(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith("/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        return self._of_repo(path.removeprefix("/api/models/"), body)

    def _create(self, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or "somebody"
        name = f"{owner}/{asked['name']}"
        if owner != "somebody":
            return self._say(
                403, {"error": f'You don\'t have the rights to create a model under the namespace "{owner}"'}
            )
        if name in self.hub.repos:
            return self._say(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
        private = asked.get("private", asked.get("visibility") == "private")
        self.hub.repos[name] = {"private": private, "files": {}, "commits": []}
        return self._say(200, {"url": f"{self.hub.url}/{name}"})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {
                **each,
                "authenticated": True,
                **({} if each["oid"] in self.hub.stored else {"actions": self._upload(each["oid"])}),
            }
            for each in asked["objects"]
        ]
        self._say(200, {"transfer": "basic", "objects": objects})

    def _upload(self, oid: str) -> dict[str, Any]:
        return {"upload": {"href": f"{self.hub.url}/upload/{oid}"}}

    def _of_repo(self, path: str, body: bytes) -> None:
        name, _, rest = path.replace("/preupload/", "\0preupload/").replace("/commit/", "\0commit/").partition("\0")
        repo = self.hub.repos.get(name)
        if repo is None:
            return self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if rest.startswith("preupload/"):
            files = json.loads(body)["files"]
            modes = [{"path": each["path"], "uploadMode": _mode(each), "shouldIgnore": False} for each in files]
            return self._say(200, {"files": modes})
        if rest.startswith("commit/"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "header":
                    repo["commits"].append(value["summary"])
                elif line["key"] == "file":
                    repo["files"][value["path"]] = base64.b64decode(value["content"])
                else:
                    repo["files"][value["path"]] = self.hub.stored[value["oid"]]
            url = f"{self.hub.url}/{name}/commit/{'0' * 40}"
            return self._say(200, {"success": True, "commitOid": "0" * 40, "commitUrl": url})
        return self._say(200, {"id": name, "modelId": name, "private": repo["private"], "siblings": [], "tags": []})

    def _token(self) -> str:
        return (self.headers.get("authorization") or "").removeprefix("Bearer ")

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _say(self, status: int, values: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        text = json.dumps(values).encode()
        with contextlib.suppress(OSError):  # whoever asked may be gone
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)


def _mode(file: dict[str, Any]) -> str:
    return "lfs" if file["path"].endswith((".safetensors", ".gguf")) else "regular"
