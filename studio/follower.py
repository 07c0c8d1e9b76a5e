"""`python -m studio.follower RUN`: the worker of a run that trains in the cloud.

It sends the run, copies its events from the job's log into the run's own, and fetches what was learnt. It may be killed
at any time: the next one finds the same job and goes on with its log. The job is ended when a person ends the run, and
by the Hub when its time is up, whoever follows it.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import tarfile
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from studio import cloud_script
from studio.cloud import LABEL, LEAST, Cloud, dependencies, on_hub, pack
from studio.config import RunConfig
from studio.errors import RunError, StudioError, explain
from studio.events import KINDS, TERMINAL, Event, Failed, Note, Paused, Phase, Started, StepDone, Stopped
from studio.launch import claim_run
from studio.redaction import print_fault, redacted
from studio.workspace import RunFolder, Workspace

BUCKET = "finetune-studio"  # of the person's account
MOUNTED = "/studio"  # where a job sees its folder of the bucket
LOOK_SECONDS = 3.0  # between two questions of how the job is
GRACE_SECONDS = 120  # after which a job that outlives its time is ended from here
_OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")  # stages


class Follower:
    """One run's job: begun or found, followed, ended."""

    def __init__(self, folder: RunFolder, workspace: Workspace, hub: Any) -> None:
        """`hub` is a `huggingface_hub.HfApi`."""
        self.folder, self.workspace, self.hub = folder, workspace, hub
        self.asked = Cloud.read(folder)
        before, _ = folder.events.read_from()
        self._seen = {_key(event) for event in before}
        self.step = max((event.step for event in before if isinstance(event, StepDone)), default=0)
        self._kept, self._fetched = "", ""  # names of what the job keeps, and what of it is here
        self._last: Event | None = None

    def run(self) -> Event:
        """Follow the job to the end of the run; the event that says how it ended. Raises StudioError, OSError."""
        bucket = self._bucket()
        job = self._found()
        if job is None and self._ends():
            return self._ended()
        job = job or self._begin(bucket)
        lines: queue.Queue[tuple[str, str]] = queue.Queue()
        threading.Thread(target=self._listen, args=(job.id, lines), daemon=True).start()
        looked = time.monotonic()
        while job.status.stage not in _OVER and self._last is None:
            with suppress(queue.Empty):
                while self._last is None:
                    self._take(bucket, *lines.get(timeout=0.2))
            if self._ends() or self._outlives(job):
                self.hub.cancel_job(job_id=job.id)
                break
            if time.monotonic() > looked + LOOK_SECONDS:
                looked = time.monotonic()
                with suppress(Exception):  # the network is away: the job goes on, and so do we
                    job = self.hub.inspect_job(job_id=job.id)
        if self._last is None:
            for kind, text in cloud_script.told(self.hub.fetch_job_logs(job_id=job.id)):
                self._take(bucket, kind, text)
        if self._last is None and self._kept:
            self._fetch(bucket)
        return self._settle(bucket, self.hub.inspect_job(job_id=job.id))

    # -- the job ---------------------------------------------------------------------------------

    def _bucket(self) -> str:
        """The id of the person's private bucket. Raises RunError where it is public."""
        found = self.hub.create_bucket(f"{self.hub.whoami()['name']}/{BUCKET}", private=True, exist_ok=True).bucket_id
        if not self.hub.bucket_info(found).private:
            raise RunError(f"The bucket {found} is public.", remedy="Make it private on the Hub, or delete it.")
        return found

    def _found(self) -> Any:
        """The job that was begun for this run already; None where there is none."""
        if self.asked.job:
            return self.hub.inspect_job(job_id=self.asked.job)
        # Who began it may have been killed before it could write down its id.
        label = {LABEL: self.asked.place}
        for job in self.hub.list_jobs(labels=label) if self.asked.place else ():
            self.asked = replace(self.asked, job=job.id).write(self.folder)
            return job
        return None

    def _begin(self, bucket: str) -> Any:
        from huggingface_hub import Volume, get_token

        left = self.asked.seconds - self.asked.spent
        if left < LEAST:
            raise RunError(
                "The time that this run may take in the cloud is used up.",
                remedy="Let it go on with 'finetune-studio train CONFIG --resume --cloud' and more '--hours'.",
            )
        self._phase("Sending the run to the cloud")
        place = token_hex(8)
        self.asked = replace(self.asked, place=place).write(self.folder)
        with tempfile.TemporaryDirectory() as temporary:
            parcel = Path(temporary) / cloud_script.PARCEL
            pack(self.folder, self.workspace, parcel)
            self.hub.batch_bucket_files(bucket, add=[(parcel, f"{place}/{parcel.name}")])
        config = RunConfig.parse(json.loads(self.folder.config.read_text(encoding="utf-8")))
        job = self.hub.run_uv_job(
            cloud_script.__file__,
            script_args=[MOUNTED],
            dependencies=dependencies(),
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            secrets={"HF_TOKEN": get_token()} if on_hub(config) else None,
            flavor=self.asked.flavour,
            timeout=left,
            labels={LABEL: place, "name": self.folder.id},
            volumes=[Volume(type="bucket", source=bucket, mount_path=MOUNTED, path=place)],
        )
        self.asked = replace(self.asked, job=job.id).write(self.folder)
        self.folder.events.append(Note(text=f"The run trains on {self.asked.flavour} in the cloud: {job.url}"))
        self._phase("Waiting for a machine in the cloud")
        return job

    def _ends(self) -> bool:
        return self.folder.stop_flag.exists() or self.folder.pause_flag.exists()

    def _ended(self) -> Event:
        return Stopped(step=self.step) if self.folder.stop_flag.exists() else Paused(step=self.step)

    def _outlives(self, job: Any) -> bool:
        if job.started_at is None:
            return False
        return (datetime.now(UTC) - job.started_at).total_seconds() > self.asked.seconds + GRACE_SECONDS

    def _settle(self, bucket: str, job: Any) -> Event:
        """Forget the job, which is over; how the run ended."""
        took = (job.durations and job.durations.running_secs) or 0
        late = took >= self.asked.seconds - self.asked.spent or "timeout" in (job.status.message or "").lower()
        with suppress(Exception):  # what is left there is the person's own
            of_job = self.hub.list_bucket_tree(bucket, f"{self.asked.place}/", recursive=True)
            self.hub.batch_bucket_files(bucket, delete=[each.path for each in of_job])
        self.asked = replace(self.asked, spent=self.asked.spent + took, place="", job="").write(self.folder)
        if self._last is not None:
            return self._last
        if self._ends():
            return self._ended()
        if late:
            return Paused(step=self.step, reason="The time that the run may take in the cloud is over.")
        if job.status.stage == "CANCELED":
            return Stopped(step=self.step)
        return Failed(
            problem=f"The job in the cloud ended without a word ({job.status.stage}: {job.status.message}).",
            remedy=f"worker.log in the run's folder holds what it said; so does {job.url}",
        )

    # -- its log ---------------------------------------------------------------------------------

    def _listen(self, job_id: str, lines: queue.Queue[tuple[str, str]]) -> None:
        """Read the log from its beginning, and again where the network ended it: what is known is not taken twice."""
        while True:
            with suppress(Exception):
                for told in cloud_script.told(self.hub.fetch_job_logs(job_id=job_id, follow=True)):
                    lines.put(told)
            time.sleep(LOOK_SECONDS)

    def _take(self, bucket: str, kind: str, text: str) -> None:
        if not kind:
            print(redacted(text.rstrip()), flush=True)  # into the run's worker.log
        elif kind == "kept":
            self._kept = text
        else:
            values = json.loads(text)
            self._tell(bucket, KINDS[values.pop("event")](**values))  # of the same version as this

    def _tell(self, bucket: str, event: Event) -> None:
        if isinstance(event, Started) or _key(event) in self._seen:  # its process is none of this machine's
            return
        self._seen.add(_key(event))
        self.step = event.step if isinstance(event, StepDone) else self.step
        if type(event).__name__ in cloud_script.COMPLETE:
            self._fetch(bucket)
        if isinstance(event, TERMINAL):
            self._last = event
        else:
            self.folder.events.append(event)

    def _fetch(self, bucket: str) -> None:
        """Bring what the job kept last into the run's folder. Raises RunError where it is not there."""
        if self._kept == self._fetched:
            return
        with tempfile.TemporaryDirectory(dir=self.folder.path, prefix=".fetched-") as temporary:
            found, unpacked = Path(temporary) / "kept.tar", Path(temporary) / "kept"
            self.hub.download_bucket_files(bucket, [(f"{self.asked.place}/{self._kept}", found)])
            if not found.exists():
                raise RunError("What the job kept is not in the bucket.", remedy="Let the run go on to look again.")
            with tarfile.open(found) as tar:
                tar.extractall(unpacked, filter="data")
            for each in filter(Path.exists, map(unpacked.joinpath, cloud_script.WORTH)):  # whatever else is in there
                here = self.folder.path / each.name
                if here.is_dir():
                    shutil.rmtree(here)
                each.replace(here)
        self._fetched = self._kept

    def _phase(self, name: str) -> None:
        self.folder.events.append(Phase(name=name))


def _key(event: Event) -> tuple[str, float]:
    return type(event).__name__, event.time  # no process tells two of a kind at the same instant


def execute(folder: RunFolder, workspace: Workspace, hub: Any) -> None:
    """Follow `folder` to its end; whatever happens, the last event says so."""
    own = claim_run(folder)  # held until the process ends
    if own is None:
        return
    try:
        ending = Follower(folder, workspace, hub).run()
    except BaseException as error:
        print_fault()
        said = _explained(error)
        ending = Failed(problem=said.problem, remedy=said.remedy)
    folder.events.append(ending)


def _explained(error: BaseException) -> StudioError:
    if type(error).__module__.split(".")[0] not in ("huggingface_hub", "httpx", "httpx2"):
        return explain(error)
    said = str(error).strip() or type(error).__name__
    return RunError(
        f"Hugging Face did not do as it was asked ({redacted(said.splitlines()[0])[:300]}).",
        remedy="Check the network, your token's rights and your account's credit; then let the run go on: a job that "
        "was begun is found again.",
    )


def main() -> None:
    """See the module's text."""
    from huggingface_hub import HfApi

    folder = RunFolder(Path(sys.argv[1]))
    log = os.open(folder.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    execute(folder, Workspace(folder.path.parents[1]), HfApi())


if __name__ == "__main__":
    main()
