"""Data sets of the Hugging Face Hub by their names. Only data files are fetched; nobody's code is run."""

from __future__ import annotations

import errno
import glob
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from studio.errors import DatasetError

Progress = Callable[[str, float, float], None]  # what is going on, bytes done, bytes in all (0: unknown)

_CONVERTED = "refs/convert/parquet"  # where the Hub keeps its own Parquet copy of most data sets
_CONVERTED_FILE = re.compile(r"([^/]+)/(partial-)?([^/]+?)(?:-part\d+)?/\d+\.parquet")
_ENDINGS = (".parquet", ".jsonl", ".json", ".csv")  # best first: the same rows often lie there in several
_ABOUT_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json")
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
_NAME = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)
_PAGE = "https://huggingface.co/datasets/"
_TIMEOUT = 5.0  # seconds for a question; downloads have the library's own


@dataclass(frozen=True)
class Popular:
    """A well-known data set that can be asked for by a short name."""

    repo: str
    licence: str


POPULAR: dict[str, Popular] = {
    "alpaca": Popular("tatsu-lab/alpaca", "CC BY-NC 4.0: not for commercial use"),
    "dolly": Popular("databricks/databricks-dolly-15k", "CC BY-SA 3.0"),
    "oasst1": Popular("OpenAssistant/oasst1", "Apache-2.0"),
    "oasst2": Popular("OpenAssistant/oasst2", "Apache-2.0"),
    "code_alpaca": Popular(
        "sahil2801/CodeAlpaca-20k", "CC BY 4.0; its answers were written by a model of OpenAI's, whose terms apply"
    ),
}


@dataclass(frozen=True)
class Part:
    """One split of one configuration of a data set."""

    config: str
    split: str
    files: dict[str, int]  # path in the repository → size in bytes
    revision: str | None = None  # the branch they lie on; None: the main one
    partial: bool = False  # the Hub has converted its first few GB only

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(self.files.values())


class DataHub(Protocol):
    """What we ask of a hub of data sets. Both methods raise DatasetError in sentences."""

    def parts(self, name: str) -> list[Part]:
        """What can be fetched of a data set; never empty."""
        ...

    def download(self, name: str, part: Part, folder: Path, progress: Progress) -> list[Path]:
        """The part's files, in their order, below `folder`."""
        ...


class HuggingFaceDataHub:
    """The real one."""

    def parts(self, name: str) -> list[Part]:
        found = converted_parts(self._sizes(name, _CONVERTED)) or data_parts(self._sizes(name, None))
        if not found:
            raise DatasetError(
                f"The data set '{name}' has no files of rows: no {', '.join(_ENDINGS)}.",
                remedy="Choose another one; those that need a program to be read cannot be used here.",
            )
        return found

    def download(self, name: str, part: Part, folder: Path, progress: Progress) -> list[Path]:
        from huggingface_hub import snapshot_download

        from studio.models.hub import progress_bar

        raised: list[BaseException] = []  # by the callback: a stop asked for is no fault of the Hub's
        bar = progress_bar(f"Fetching {name}", part.size, progress, raised)
        names = [glob.escape(path) for path in part.files]
        try:
            snapshot_download(
                name,
                repo_type="dataset",
                revision=part.revision,
                allow_patterns=names,
                local_dir=folder,
                tqdm_class=bar,
            )
        except Exception as error:
            if raised:
                raise raised[0] from None
            raise refusal(name, error) from error
        return [folder / path for path in part.files]

    def _sizes(self, name: str, revision: str | None) -> dict[str, int]:
        """Path → bytes of each file on a branch; none where there is no such branch."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            info = HfApi().dataset_info(name, revision=revision, files_metadata=True, timeout=_TIMEOUT)
        except RevisionNotFoundError:
            return {}
        except Exception as error:  # its network library's errors share no base class with OSError
            raise refusal(name, error) from error
        return {file.rfilename: file.size or 0 for file in info.siblings or []}


def repo_of(name: str) -> str:
    """The repository a short name, a full name or the address of a page means. Raises DatasetError for others."""
    plain = name.strip().removeprefix(_PAGE).removesuffix("/")
    if plain in POPULAR:
        return POPULAR[plain].repo
    if not _NAME.fullmatch(plain) or ".." in plain:
        raise DatasetError(
            f"'{plain[:80]}' is not a name of a data set on the Hub.",
            remedy=f"Write it as owner/name, or choose one of: {', '.join(POPULAR)}.",
        )
    return plain


def fetch(
    name: str, config: str | None, split: str | None, hub: DataHub, folder: Path, progress: Progress
) -> list[Path]:
    """The files of one part of a data set, below `folder`. Raises DatasetError; see `choose` for what is taken."""
    repo = repo_of(name)
    return hub.download(repo, choose(hub.parts(repo), config, split), folder, progress)


def choose(parts: Sequence[Part], config: str | None = None, split: str | None = None) -> Part:
    """The part asked for; otherwise the only configuration or 'default', and the only split or 'train'.

    Raises DatasetError with the names there are where none or several fit.
    """
    config = _one("configuration", [part.config for part in parts], config, "default")
    split = _one("split", [part.split for part in parts if part.config == config], split, "train")
    return next(part for part in parts if (part.config, part.split) == (config, split))


def converted_parts(files: dict[str, int]) -> list[Part]:
    """The parts on the Hub's Parquet branch, from its paths `{config}/{split}/0000.parquet` → bytes."""
    found: dict[tuple[str, str, bool], dict[str, int]] = defaultdict(dict)
    for path, size in sorted(files.items()):
        if match := _CONVERTED_FILE.fullmatch(path):
            found[match[1], match[3], bool(match[2])][path] = size
    return [Part(config, split, own, _CONVERTED, partial) for (config, split, partial), own in found.items()]


def data_parts(files: dict[str, int]) -> list[Part]:
    """The parts that the files' names on the main branch suggest, of one kind of file; path → bytes."""
    by_ending: dict[str, dict[str, int]] = defaultdict(dict)
    for path, size in sorted(files.items()):
        if PurePosixPath(path).name not in _ABOUT_DATA and not path.startswith("."):
            by_ending[PurePosixPath(path.lower().removesuffix(".gz")).suffix][path] = size
    best = next((by_ending[ending] for ending in _ENDINGS if ending in by_ending), {})
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for path, size in best.items():
        found[_config_of(path), _split_of(path)][path] = size
    return [Part(config, split, own) for (config, split), own in found.items()]


def refusal(name: str, error: BaseException) -> DatasetError:
    """What a failed question to the Hub means for the person who asked."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):  # before its parent class RepositoryNotFoundError
        return DatasetError(
            f"The data set '{name}' needs its licence accepted before it can be fetched.",
            remedy=f"Accept it at {_PAGE}{name}, then sign in here with 'hf auth login' or set HF_TOKEN.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return DatasetError(
            f"The Hub has no data set '{name}', or it is private.",
            remedy="Check the spelling; for a private one sign in with 'hf auth login' or set HF_TOKEN.",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return DatasetError(f"The disk is full: '{name}' was not fetched.", remedy="Free some space and start again.")
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return DatasetError(
            f"The Hub answered {error.response.status_code} when asked for the data set '{name}'.",
            remedy="Wait a minute and start again, or upload a file of your own.",
        )
    return DatasetError(
        f"The Hub cannot be reached for the data set '{name}' ({_because(error)}).",
        remedy="Check the network (and HF_HUB_OFFLINE), or upload a file of your own.",
    )


def _one(what: str, names: Sequence[str], asked: str | None, usual: str) -> str:
    there = list(dict.fromkeys(names))
    wanted = asked or (there[0] if len(there) == 1 else usual)
    if wanted in there:
        return wanted
    listed = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    problem = f"The data set has no {what} '{asked}'." if asked else f"The data set has more than one {what}."
    raise DatasetError(problem, remedy=f"Choose one of: {listed}.")


def _split_of(path: str) -> str:
    """By the words of the file's name, then of its folders; 'train' where none of them says."""
    for part in reversed(PurePosixPath(path.lower()).parts):
        words = set(re.split(r"[^a-z]+", part))
        if split := next((split for split, known in _SPLITS.items() if words & set(known)), None):
            return split
    return "train"


def _config_of(path: str) -> str:
    """The outermost folder, unless it only says that here is data."""
    folder = PurePosixPath(path).parts[0] if "/" in path else "data"
    only_says = {"data", *(word for known in _SPLITS.values() for word in known)}
    return "default" if folder.lower() in only_says else folder


def _because(error: Any) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120].rstrip(".") if lines else type(error).__name__
