"""The Hugging Face Hub, behind four narrow questions, so that tests can stand in for it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from studio.errors import ModelError

Progress = Callable[[str, float, float], None]  # what is going on, done, total; total 0: unknown
_TIMEOUT = 5.0  # seconds for a question; downloads have the library's own


class HubUnreachable(ModelError):
    """No answer from the Hub, or offline by choice."""


class Hub(Protocol):
    """What we ask of a model hub. Every method raises ModelError in sentences."""

    def reachable(self) -> bool:
        """Whether the hub answers at all, decided within seconds. Raises nothing."""
        ...

    def files(self, model: str) -> dict[str, int]:
        """Name → size in bytes of each file of a model."""
        ...

    def download(self, model: str, names: Sequence[str], progress: Progress, folder: Path | None = None) -> Path:
        """The folder that holds `names`: the shared cache's, or `folder`."""
        ...

    def cached(self, model: str) -> Path | None:
        """A complete copy fetched earlier, found without asking the network."""
        ...


class HuggingFaceHub:
    """The real one. Models land in the cache that all Hugging Face libraries share."""

    def reachable(self) -> bool:
        from huggingface_hub import HfApi, constants

        if constants.HF_HUB_OFFLINE:
            return False
        try:
            HfApi().model_info("HuggingFaceTB/SmolLM2-135M-Instruct", timeout=_TIMEOUT)
        except Exception:  # its network library's errors share no base class with OSError
            return False
        return True

    def files(self, model: str) -> dict[str, int]:
        from huggingface_hub import HfApi

        try:
            info = HfApi().model_info(model, files_metadata=True, timeout=_TIMEOUT)
        except Exception as error:
            raise refusal(model, error) from error
        return {file.rfilename: file.size or 0 for file in info.siblings or []}

    def download(self, model: str, names: Sequence[str], progress: Progress, folder: Path | None = None) -> Path:
        from huggingface_hub import snapshot_download

        sizes = self.files(model)
        raised: list[BaseException] = []  # by the callback: a stop asked for is no fault of the Hub's
        bar = progress_bar(f"Fetching {model}", sum(sizes.get(name, 0) for name in names), progress, raised)
        try:
            return Path(snapshot_download(model, allow_patterns=list(names), local_dir=folder, tqdm_class=bar))
        except Exception as error:
            if raised:
                raise raised[0] from None
            raise refusal(model, error) from error

    def cached(self, model: str) -> Path | None:
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(model, allow_patterns=["*.json"], local_files_only=True))
        except Exception:
            return None
        return folder if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")) else None


def progress_bar(title: str, total: int, progress: Progress, raised: list[BaseException]) -> Any:
    """A class that huggingface_hub takes for its progress bar; its bytes go to `progress`.

    It is called in the library's threads, so what `progress` raises is kept in `raised` as well.
    """
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            # Of three bars only one counts bytes that are on disk; the others count files and packets.
            self._counts = str(options.get("desc", "")).startswith("Reconstructing")
            self._done = 0.0
            super().__init__(*args, **options | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            self._done += n or 0
            if self._counts:
                try:
                    progress(title, min(self._done, total or self._done), total)
                except BaseException as error:
                    raised.append(error)
                    raise

    return Bar


def refusal(model: str, error: BaseException) -> ModelError:
    """What a failed question to the Hub means for the person who asked."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    page = f"https://huggingface.co/{model}"
    if isinstance(error, GatedRepoError):  # before its parent class RepositoryNotFoundError
        return ModelError(
            f"'{model}' needs its licence accepted before it can be fetched.",
            remedy=f"Accept it at {page}, then sign in here with 'hf auth login' or set HF_TOKEN.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(
            f"The Hub has no model '{model}', or it is private.",
            remedy="Check the spelling; for a private model sign in with 'hf auth login' or set HF_TOKEN.",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return ModelError(f"The disk is full: '{model}' was not fetched.", remedy="Free some space and start again.")
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return ModelError(
            f"The Hub answered {error.response.status_code} when asked for '{model}'.",
            remedy="Wait a minute and start again, or choose a model that is on this machine.",
        )
    return HubUnreachable(
        f"'{model}' is not on this machine and the Hub cannot be reached ({_because(error)}).",
        remedy="Check the network (and HF_HUB_OFFLINE), choose the starter model, or give a local folder.",
    )


def _because(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120].rstrip(".") if lines else type(error).__name__
