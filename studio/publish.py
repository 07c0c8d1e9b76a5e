"""What was exported of a run, pushed to the Hugging Face Hub: private unless a person says otherwise.

A `Publisher` asks `python -m studio.publish` with {"workspace", "export", "stamp", "order", "token"}; the replies are
{"doing", "done", "total"} and one {"published"}, fields of `Published`. The token goes through the pipe and nowhere
else: no argument, no variable, no file holds it, and no error quotes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import filelock

from studio.child import Child, Progress, Reply, Stopped, Tell, serve, teller
from studio.errors import ModelError, RunError, StudioError
from studio.exporter import Exported, made
from studio.exports import Source
from studio.rehearsal import size
from studio.workspace import Workspace

LARGEST = 50_000_000_000  # bytes of one file; the Hub asks for larger ones to be divided
_WEIGHTS = (".safetensors", ".gguf")
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(f"(?:{_PART}/)?{_PART}")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
_PRINTED = re.compile(r"[!-~]{1,500}")
_SMALL = 5_000_000  # bytes of a text in which somebody could have left a token
_PIECE = 4_000_000


@dataclass(frozen=True)
class Parcel:
    """What would be sent."""

    export: str  # its name
    title: str
    files: list[tuple[str, int]]  # name and bytes, as they will lie in the repository

    @property
    def bytes(self) -> int:
        return sum(each for _, each in self.files)

    @property
    def stamp(self) -> str:
        """Tells it from any other one, so that what is sent is what was shown."""
        return hashlib.sha256(json.dumps([self.export, self.files]).encode()).hexdigest()


@dataclass(frozen=True)
class Order:
    """Where to, and how."""

    repo: str  # 'owner/name', or 'name' for one's own
    public: bool = False
    update: bool = False  # add to a repository that is there already
    message: str = ""

    def checked(self) -> Order:
        """Raises ModelError for a name that no repository can have."""
        name = self.repo.strip()
        if not _REPO.fullmatch(name) or ".." in name or "--" in name or name.endswith(".git") or len(name) > 96:
            raise ModelError(
                f"{name[:80]!r} can be no repository's name.",
                remedy="Write owner/name, or a name alone, of letters, digits, '-', '_' and '.'; at most 96 of them.",
            )
        return Order(name, self.public, self.update, " ".join(self.message.split())[:200])


@dataclass(frozen=True)
class Published:
    """What is on the Hub now."""

    repo: str
    url: str
    commit: str
    private: bool
    files: int
    bytes: int
    notes: list[str] = field(default_factory=list)


def parcel(workspace: Workspace, name: str) -> Parcel:
    """What would be sent of an export. Raises RunError where there is no such one, or it holds no weights."""
    exported = _exported(workspace, name)
    path = exported.path(workspace)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = [(each.filename, each.file_size) for each in archive.infolist() if not each.is_dir()]
    else:
        card = [(name, len(text.encode())) for name, text in _card(workspace, exported).items()]
        files = [(exported.file, exported.bytes), *card]
    if not any(name.endswith(_WEIGHTS) for name, _ in files):
        raise RunError(
            "This export holds no weights, so there is no model to publish.",
            remedy="Export the adapter, the merged model or a GGUF file first.",
        )
    if large := [(name, each) for name, each in files if each > LARGEST]:
        raise RunError(
            f"{large[0][0]} is {size(large[0][1])}; the Hub takes files of up to {size(LARGEST)}.",
            remedy="Publish the adapter, or a form that takes less room.",
        )
    return Parcel(exported.name, exported.title, sorted(files))


def _exported(workspace: Workspace, name: str) -> Exported:
    found = next((each for each in made(workspace) if each.name == name), None)
    if found is None:
        raise RunError("There is no such export.", remedy="Choose one from the list, or make it first.")
    return found


def _card(workspace: Workspace, exported: Exported) -> dict[str, str]:
    """File name → text to go with a single file; nothing where the run is gone."""
    from studio.exports.card import model_card  # which belongs to the catalog

    try:
        return model_card(Source.of(workspace, exported.run), "gguf")
    except StudioError:
        return {}


def own_token() -> str:
    """That of HF_TOKEN or of `hf auth login` on this machine; '' where there is none."""
    from huggingface_hub import get_token

    return get_token() or ""


class Publisher:
    """The parent's side. One push at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.child = Child(
            "studio.publish",
            workspace.root / "publish.log",
            "The process that sent the files ended.",
            "Try again; what was sent already is not sent twice. publish.log in the workspace says more.",
            keys=(),  # the token comes with the request
        )

    def send(self, parcel: Parcel, order: Order, token: str) -> Iterator[Progress | Published]:
        """How far it is, in bytes, and what is on the Hub last. Raises StudioError. Closing the iterator ends it:
        nothing shows in the repository then, for all files appear in it at once.
        """
        asked = request(self._workspace, parcel, order, token)
        try:
            with closing(self.child.told(asked)) as parts:
                for part in parts:
                    yield part if isinstance(part, Progress) else Published(**part["published"])
        finally:
            self.child.close()  # the token goes with it

    def close(self) -> None:
        """End the process; whoever waits for it is told."""
        self.child.close()


def request(workspace: Workspace, parcel: Parcel, order: Order, token: str) -> dict[str, Any]:
    """What the process is asked. Raises ModelError for a token or a name that can be none."""
    token = token.strip()
    if not token:
        raise ModelError(
            "There is no token for the Hub.",
            remedy="Make one that may write at huggingface.co/settings/tokens and type it in here, or sign in with "
            "'hf auth login'.",
        )
    if not _PRINTED.fullmatch(token):
        raise ModelError("That is no token: it holds other than plain letters.", remedy="Copy it once more.")
    return {
        "workspace": str(workspace.root),
        "export": parcel.export,
        "stamp": parcel.stamp,
        "order": asdict(order.checked()),
        "token": token,
    }


# -- in the process ---------------------------------------------------------------------------------


def _answer(request: dict[str, Any], reply: Reply, stop: Callable[[], bool]) -> None:
    workspace, token = Workspace(Path(request["workspace"])), request["token"]
    order, tell = Order(**request["order"]), teller(reply, stop)
    ready = parcel(workspace, request["export"])
    if ready.stamp != request["stamp"]:
        raise RunError("The export has changed since it was shown.", remedy="Look at the list again.")
    published: Published | StudioError
    try:
        published = _push(workspace, ready, order, token, tell)
    except Stopped:
        raise
    except StudioError as error:
        published = type(error)(redacted(error.problem, token), remedy=redacted(error.remedy, token))
    except Exception as error:  # its network library's errors share no base class
        published = refusal(error, order, token)
    if isinstance(published, StudioError):
        raise published  # outside of the handler: what the log would show of the first one may quote the request
    reply(published=asdict(published))


def redacted(text: str, token: str) -> str:
    """The text without the token, and without whatever looks like one."""
    return _TOKEN.sub("hf_…", text.replace(token, "hf_…") if token else text)


def _push(workspace: Workspace, ready: Parcel, order: Order, token: str, tell: Tell) -> Published:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token)
    with _laid_out(workspace, ready, tell) as folder:
        _check_texts(folder, ready, token)
        tell("Signing in to the Hub", 0, 0)
        repo = _repository(api, order, token)
        notes = _open_repository(api, repo, order)
        operations, done = [], 0
        for name, length in ready.files:
            tell(f"Sending {name}, {size(length)}", done, ready.bytes)
            operation = CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
            api.preupload_lfs_files(repo, [operation], free_memory=False)
            operations.append(operation)
            done += length
        tell("Putting the files into the repository", done, ready.bytes)
        message = order.message or f"Publish {ready.title}"
        commit = api.create_commit(repo, operations, commit_message=message)
    url = f"{api.endpoint}/{repo}"
    return Published(repo, url, commit.oid, not order.public, len(ready.files), ready.bytes, notes)


def _repository(api: Any, order: Order, token: str) -> str:
    """The repository's full name. Raises ModelError where the token may not write."""
    who = api.whoami(token)
    role = who.get("auth", {}).get("accessToken", {}).get("role", "")
    if role == "read":
        raise _no_right(order)
    return order.repo if "/" in order.repo else f"{who['name']}/{order.repo}"


def _open_repository(api: Any, repo: str, order: Order) -> list[str]:
    """Make it, or see that it is the one that was meant. Raises ModelError."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repo, private=not order.public)
        return []
    except HfHubHTTPError as error:
        if error.response is None or error.response.status_code != 409:
            raise
    if not order.update:
        raise ModelError(
            f"The name '{repo}' is taken: there is a repository on the Hub.",
            remedy="Choose another name, or say that the files shall be added to that one.",
        )
    private = bool(api.repo_info(repo).private)
    if private == order.public:
        there, asked = ("private", "public") if private else ("public", "private")
        raise ModelError(
            f"The repository '{repo}' is {there}, and this was to be {asked}.",
            remedy=f"Change that in its settings on the Hub, or publish {there}.",
        )
    return ["The files were added to a repository that was there."]


@contextmanager
def _laid_out(workspace: Workspace, ready: Parcel, tell: Tell) -> Iterator[Path]:
    """A folder with the files as they will lie in the repository, gone afterwards. Raises StudioError."""
    exported = _exported(workspace, ready.export)
    lock = filelock.FileLock(workspace.exports / ".sending.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError("Something else is being published.", remedy="Wait for its end and try again.") from None
    with lock:
        for left in workspace.exports.glob(".sending-*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        if ready.bytes > shutil.disk_usage(workspace.exports).free:
            raise RunError(
                f"The files take {size(ready.bytes)} of disk while they are sent.", remedy="Free some space first."
            )
        folder = workspace.exports / f".sending-{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            _lay_out(workspace, exported, folder, tell)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release(force=True)


def _lay_out(workspace: Workspace, exported: Exported, folder: Path, tell: Tell) -> None:
    path = exported.path(workspace)
    if not zipfile.is_zipfile(path):
        try:
            os.link(path, folder / exported.file)
        except OSError:  # not every disk knows links
            shutil.copyfile(path, folder / exported.file)
        for name, text in _card(workspace, exported).items():
            (folder / name).write_text(text, encoding="utf-8")
        return
    done = 0
    with zipfile.ZipFile(path) as archive:
        for each in archive.infolist():
            if each.is_dir():
                continue
            to = folder / PurePosixPath(each.filename)
            if ".." in to.parts or not to.is_relative_to(folder):
                raise RunError("The export is damaged.", remedy="Make it again.")
            to.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(each) as source, to.open("xb") as target:
                while piece := source.read(_PIECE):
                    done += target.write(piece)
                    tell("Unpacking", done, exported.bytes)


def _check_texts(folder: Path, ready: Parcel, token: str) -> None:
    """Refuse to publish a text that holds a token."""
    for name, length in ready.files:
        if length <= _SMALL and not name.endswith(_WEIGHTS):
            text = (folder / name).read_bytes().decode("utf-8", errors="replace")
            if token in text or re.search(r"hf_[A-Za-z0-9]{30,}", text):
                raise RunError(
                    f"{name} holds what looks like a token for the Hub; nothing was sent.",
                    remedy="Take it out of the run's data or settings, export again, and revoke that token.",
                )


def refusal(error: BaseException, order: Order, token: str) -> ModelError:
    """What a failed push means for the person who asked."""
    found = _answered(error)
    code, said = (found.response.status_code, _said(found, token)) if found is not None else (0, "")
    name = order.repo
    root, odd = error, isinstance(error, ValueError)  # its library found fault with a name, or the Hub with the card
    while root.__cause__ is not None and not odd:
        root = root.__cause__
    because = (redacted(str(root), token).strip().splitlines() or [type(root).__name__])[0][:150].rstrip(".")
    if odd:
        return ModelError(f"The Hub would not take it ({because}).", remedy="Choose another name, or mend the card.")
    if code == 401:
        return ModelError(
            "The Hub does not know the token: it is mistyped, revoked or expired.",
            remedy="Make a new one that may write at huggingface.co/settings/tokens.",
        )
    if code in (402, 403, 413) and any(word in said.lower() for word in ("storage", "too large", "quota", "limit")):
        return ModelError(
            f"It is too large for what the Hub grants this account ({said}).",
            remedy="Publish the adapter alone, make room on the Hub, or publish it openly, which has more room.",
        )
    if code == 413:
        return ModelError("It is too large for the Hub.", remedy="Publish the adapter, or a form that takes less room.")
    if code == 403:
        return _no_right(order)
    if code == 404:
        return ModelError(
            f"The Hub has no place '{name}', or the token may not see it.", remedy="Check the owner's name."
        )
    if code == 429:
        return ModelError("The Hub asks to slow down.", remedy="Wait some minutes and try again.")
    if code:
        return ModelError(f"The Hub answered {code} ({said or 'without a reason'}).", remedy="Try again in a minute.")
    return ModelError(
        f"The Hub cannot be reached ({because}).",
        remedy="Check the network (and HF_HUB_OFFLINE); nothing shows on the Hub until all of it is there.",
    )


def _answered(error: BaseException | None) -> Any:
    """The Hub's own answer among the causes of an error."""
    from huggingface_hub.errors import HfHubHTTPError

    while error is not None:
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            return error
        error = error.__cause__ or error.__context__
    return None


def _said(error: Any, token: str) -> str:
    text = redacted(error.server_message or str(error), token)  # before anything is cut off
    return (text.strip().splitlines() or [""])[0][:200].rstrip(".")


def _no_right(order: Order) -> ModelError:
    return ModelError(
        f"The token has no right to write to '{order.repo}'.",
        remedy="Make one with write access at huggingface.co/settings/tokens, or publish under your own name.",
    )


def main() -> None:
    """Answer until nobody asks any more."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # the log is no place for them
    serve(_answer)


if __name__ == "__main__":
    main()
