"""A run on a machine of Hugging Face Jobs: what it may cost, what is sent, and where it is noted.

Such a run has a `cloud.json` in its folder. Its worker here is `studio.follower`, which sends it, follows the job's log
and fetches what was learnt; to everybody else it is a run like any other.
"""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from studio.config import RunConfig
from studio.data import collection
from studio.data.library import SAMPLES, open_source
from studio.errors import ConfigError, RunError
from studio.models.catalog import BUNDLED
from studio.workspace import RunFolder, Workspace, write_whole

DEVICE = "cloud"  # what such a run has, and one that is told again, where others name a device of this machine

PRICES_FROM = "https://huggingface.co/docs/hub/jobs-pricing, read 2026-11-21"
PRICES = {  # US dollars an hour; an estimate, as the Hub may have changed them since
    "cpu-basic": 0.01,
    "cpu-upgrade": 0.03,
    "cpu-xl": 1.00,
    "cpu-performance": 1.90,
    "t4-small": 0.40,
    "t4-medium": 0.60,
    "l4x1": 0.80,
    "l4x4": 3.80,
    "l40sx1": 1.80,
    "l40sx4": 8.30,
    "l40sx8": 23.50,
    "a10g-small": 1.00,
    "a10g-large": 1.50,
    "a10g-largex2": 3.00,
    "a10g-largex4": 5.00,
    "a100-large": 2.50,
    "a100x4": 10.00,
    "a100x8": 20.00,
    "h200": 5.00,
    "h200x2": 10.00,
    "h200x4": 20.00,
    "h200x8": 40.00,
    "rtx-pro-6000": 2.75,
    "rtx-pro-6000x2": 5.50,
    "rtx-pro-6000x4": 11.00,
    "rtx-pro-6000x8": 22.00,
}
LABEL = "finetune-studio"  # of a job; its value is the run's place
LEAST = 60  # seconds that a job is worth beginning for

_NEEDED = (  # by a worker; the job gets the versions that are installed here
    "torch", "transformers", "accelerate", "peft", "bitsandbytes", "gguf", "safetensors", "huggingface-hub", "pyarrow",
    "duckdb", "rensa", "py3langid", "pydantic", "pyyaml", "regex", "nvidia-ml-py", "psutil", "filelock",
)  # fmt: skip


@dataclass(frozen=True)
class Cloud:
    """What is asked of the cloud for one run, and which job it has there."""

    flavour: str
    seconds: int  # that all jobs of this run may take together
    spent: int = 0  # seconds, by jobs that have ended
    place: str = ""  # folder of the bucket, and label, of the job that is under way or was about to be
    job: str = ""  # its id, once known

    @classmethod
    def ask(cls, flavour: str, hours: float, most: float | None = None) -> Cloud:
        """At most `hours`, and at most `most` US dollars. Raises ConfigError."""
        if flavour not in PRICES:
            raise ConfigError(
                f"'{flavour}' is no machine of Hugging Face Jobs.", remedy=f"One of: {', '.join(PRICES)}."
            )
        seconds = int(3600 * min(hours, hours if most is None else most / PRICES[flavour]))
        if seconds < LEAST:
            raise ConfigError("That is less than a minute in the cloud.", remedy="Allow more hours, or more dollars.")
        return cls(flavour, seconds)

    @classmethod
    def read(cls, folder: RunFolder) -> Cloud:
        return cls(**json.loads(folder.cloud.read_text(encoding="utf-8")))

    def write(self, folder: RunFolder) -> Cloud:
        write_whole(folder.cloud, json.dumps(asdict(self)))
        return self

    def asked(self, other: Cloud) -> Cloud:
        """This one, with what `other` asks for from now on."""
        return replace(self, flavour=other.flavour, seconds=other.seconds)

    def cost(self) -> float:
        """US dollars that it takes at most, by `PRICES`."""
        return PRICES[self.flavour] * self.seconds / 3600

    def sentence(self) -> str:
        """What a person should know before it starts."""
        return (
            f"{self.flavour} in the cloud, about ${PRICES[self.flavour]:.2f} an hour by an estimate "
            f"({PRICES_FROM}): it is ended after {self.seconds / 3600:.2g} h, about ${self.cost():.2f}. The rows, the "
            f"settings and the studio's code go into a private bucket of your Hugging Face account."
        )


def check_cloud(config: RunConfig) -> None:
    """Raise ConfigError for what cannot be had there."""
    from huggingface_hub import get_token

    if not get_token():
        raise ConfigError(
            "There is no Hugging Face token, which the cloud asks for.",
            remedy="Set the environment variable HF_TOKEN, or log in with 'hf auth login'.",
        )
    if config.model.startswith((".", "/", "~")) or Path(config.model).exists():
        raise ConfigError(
            "The model is a folder of this machine, which is not sent.",
            remedy="Put it on the Hub, privately if you like, and give its name there.",
        )
    if config.trackers.chosen():
        raise ConfigError("Trackers do not reach the cloud.", remedy="Switch them off under 'Trackers'.")
    for reward in config.rewards.values():
        if reward.runs_of:
            raise ConfigError(
                f"The reward '{reward.title}' is given by another run, which is not sent.",
                remedy="Train on this machine, or leave it out.",
            )


def cancel(folder: RunFolder) -> None:
    """End the job of a run that nobody follows. Raises RunError where the Hub does not answer: it may cost still."""
    from huggingface_hub import HfApi

    asked = Cloud.read(folder)
    if not asked.place:
        return
    hub = HfApi()
    try:
        for job in hub.list_jobs(labels={LABEL: asked.place}):
            hub.cancel_job(job_id=job.id)
    except Exception as error:
        raise RunError(
            f"The run's job in the cloud could not be ended ({type(error).__name__}), and costs until its time is up.",
            remedy="Try again, or end it on https://huggingface.co/settings/jobs.",
        ) from None


def on_hub(config: RunConfig) -> bool:
    """Whether the job must fetch the model from the Hub, where it may be a private one."""
    return config.model != "tiny" and config.model not in BUNDLED


def dependencies() -> list[str]:
    """What the job installs: the versions that are here, without what a build says of itself behind a plus."""
    found = []
    for name in _NEEDED:
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:  # bitsandbytes is not for every machine
            continue
    return found


def pack(folder: RunFolder, workspace: Workspace, to: Path) -> None:
    """Write what the job needs: the engine, the run as far as it came, and the versions of the data that it names.

    Raises DatasetError where those are gone.
    """
    config = RunConfig.parse(json.loads(folder.config.read_text(encoding="utf-8")))
    engine = Path(__file__).parent
    inside = f"workspace/runs/{folder.id}"
    with tarfile.open(to, "w:gz") as tar:
        for file in sorted(engine.rglob("*.py")):
            tar.add(file, f"studio/{file.relative_to(engine).as_posix()}")
        tar.add(SAMPLES, "assets/samples")
        changed: dict[str, Any] = {
            "dataset": config.dataset.model_copy(update={"source": _add(tar, config.dataset, "dataset", workspace)})
        }
        if config.old.source:
            changed["old"] = config.old.model_copy(update={"source": _add(tar, config.old, "old", workspace)})
        values = config.model_copy(update=changed).to_dict()
        sent = to.with_suffix(".config")
        sent.write_text(json.dumps(values), encoding="utf-8")
        tar.add(sent, f"{inside}/config.json")
        for path in (folder.events.path, folder.checkpoints):
            if path.exists():
                tar.add(path, f"{inside}/{path.name}")


def _add(tar: tarfile.TarFile, chosen: Any, part: str, workspace: Workspace) -> str:
    """Add the rows of a data set, and nothing else of it; what it is called in the job."""
    opened = open_source(chosen.source, workspace, chosen.mapping(), chosen.version)
    if opened.path is not None:  # a file or a folder, as it was read
        name = f"workspace/{part}/{opened.path.stem}.parquet"
        tar.add(opened.train.path, name)
        return name
    if kept := collection.find(workspace, chosen.source):
        inside = f"workspace/datasets/{kept.name}"
        for path in (kept.folder / "about.json", kept.path(chosen.version), kept.folder / "aside.jsonl"):
            if path.exists():
                tar.add(path, f"{inside}/{os.path.relpath(path, kept.folder)}")
    return chosen.source
