"""Does a search for a better prompt find one on a small machine, and what does it take beside dspy's?

Claims: on the sample data with SmolLM2-135M, examples found by the search beat the plain prompt on the sealed rows,
the 90 % intervals apart, within 10 minutes on 2 cores, on three seeds; beside dspy's BootstrapFewShotWithRandomSearch
(in an environment of its own) on the same rows, model and number of calls, what is found is at least as good on the
sealed rows, and takes fewer seconds. dspy's calls are answered by the same model behind a local server, which takes
together what waits, and reads what they begin with once: as ours does.

    python benchmarks/prompts.py [--only found,dspy] [--workspace FOLDER] [--seeds 0,1,2] [--dspy PYTHON]
        [--forms plain,chat]

`--dspy` is a Python that has dspy 3. Writes results/prompts-cpu.json and .txt.
"""

from __future__ import annotations

import argparse
import json
import queue
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import _report

from studio.evaluation.intervals import bootstrap
from studio.optimiser import AT_ONCE
from studio.parts import Parts, parts
from studio.prompt import ROW
from studio.prompter import finish
from studio.rewards import Answered, Combined, Tools
from studio.speaker import ModelSpeaker
from studio.study import Study, StudySettings, begin
from studio.trained import Awake
from studio.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "prompts-cpu"
SHOTS = 8
GATHER = 0.01  # seconds in which requests that come at once are all there
DSPY = Path(__file__).with_name("_dspy_prompts.py")


def searched(workspace: Workspace, options: argparse.Namespace, seed: int, awake: Awake) -> tuple[Study, float]:
    """A study at its end, and the seconds until the sealed rows were opened; loading the model is not among them."""
    chosen = {
        "model": options.model,
        "rewards": {"json_fields": {}},
        "strategy": {"name": "halving", "shots": SHOTS, "sets": options.sets},
        "sealed_rows": options.sealed,
        "seed": seed,
    }
    study = begin(workspace, StudySettings.parse(chosen))
    ready: dict[str, float] = {}

    def tell(doing: str, *_: float) -> None:
        ready.setdefault(doing, time.monotonic())

    finish(workspace, study, tell, awake=awake)
    return study, ready["Opening the sealed rows"] - ready["Scoring the first prompt"]


def found(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The plain prompt and the one found, on the sealed rows, a study a seed."""
    values, lines, awake = [], [], Awake()
    for seed in map(int, options.seeds.split(",")):
        study, _ = searched(workspace, options, seed, awake)
        said = study.verdict
        assert said
        assert study.best
        apart = said.after_interval[0] > said.before_interval[1]
        lines.append(
            f"seed {seed}: JSON fields right on {said.rows} sealed rows {_shown(said.before, said.before_interval)} -> "
            f"{_shown(said.after, said.after_interval)} with {len(study.best.prompt.demonstrations)} examples, "
            f"intervals {'apart' if apart else 'NOT apart'}; {study.seconds:.0f} s (goal 600), {study.calls:,} calls, "
            f"{len(study.tried)} prompts"
        )
        values.append(
            {
                "seed": seed,
                "before": [said.before, *said.before_interval],
                "after": [said.after, *said.after_interval],
                "gain": said.gain_interval,
                "seconds": study.seconds,
                "calls": study.calls,
                "prompts": len(study.tried),
            }
        )
    return {"seeds": values}, lines


def dspy(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Sealed scores and seconds of both, in turn; theirs in their own form of asking, and in ours."""
    if not options.dspy:
        return {}, ["dspy: not measured, no --dspy was given"]
    awake = Awake()
    forms = options.forms.split(",")
    told: dict[str, list[dict[str, Any]]] = {key: [] for key in ("ours", *forms)}
    for seed in map(int, options.seeds.split(",")):
        study, seconds = searched(workspace, options, seed, awake)
        rows, best = parts(workspace, study.settings), study.best
        assert best
        right = [each.score for each in best.on("sealed", "goal").values()]
        calls = study.calls - sum(len(each.on("sealed", "goal")) for each in study.tried.values())
        told["ours"].append({"scores": right, "seconds": seconds, "calls": calls})
        goal = Combined(study.settings.rewards, Tools(workspace, awake.model, awake.tokenizer))
        for adapter in forms:
            with served(Server(ModelSpeaker(awake.model, awake.tokenizer), goal, calls, study)) as server:
                theirs = _asked(options.dspy, server, rows, calls, adapter, study)
            told[adapter].append(
                {
                    "scores": goal([Answered(*each) for each in _sealed(rows, theirs["answers"])]).total,
                    "seconds": theirs["seconds"],
                    "calls": server.made,
                    "shots": theirs["shots"],
                }
            )
    names = {"ours": "ours, by halves", "plain": "dspy, asked as ours is", "chat": "dspy, in its own form"}
    lines = []
    for key, each in told.items():
        lines.append(_report.row(f"{names[key]}: sealed score", [statistics.fmean(one["scores"]) for one in each], ""))
        lines.append(_report.row(f"{names[key]}: search", [one["seconds"] for one in each], "s"))
        lines.append(_report.row(f"{names[key]}: calls", [one["calls"] for one in each], ""))
    for key in forms:
        both = zip(told["ours"], told[key], strict=True)
        gains = [a - b for ours, theirs in both for a, b in zip(ours["scores"], theirs["scores"], strict=True)]
        lines.append(f"ours - {names[key]}, row by row: {_shown(statistics.fmean(gains), bootstrap(gains))}")
        pairs = ([one["seconds"] for one in told[side]] for side in ("ours", key))
        lines.append(_report.ratio(f"seconds, {names[key]} / ours", *pairs))
    return told, lines


def _shown(mean: float, interval: tuple[float, float]) -> str:
    return f"{mean:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _sealed(rows: Parts, answers: list[str]) -> Iterator[tuple[str, str, str]]:
    for each, answer in zip(rows.sealed, answers, strict=True):
        yield each.fields[ROW], answer, each.answer


def _asked(python: str, server: Server, rows: Parts, calls: int, adapter: str, study: Study) -> dict[str, Any]:
    """What dspy comes to. It shows rows of our pool, and scores on all rows that ours searches and chooses on."""
    asked = {
        "url": f"http://127.0.0.1:{server.server_port}",
        "train": [[each.fields[ROW], each.answer] for each in rows.pool],
        "validate": [[each.fields[ROW], each.answer] for each in (*rows.search, *rows.select)],
        "sealed": [each.fields[ROW] for each in rows.sealed],
        "calls": calls,
        "shots": SHOTS,
        "adapter": adapter,
        "threads": AT_ONCE,
        "max_new_tokens": study.settings.max_new_tokens,
        "seed": study.settings.seed,
    }
    done = subprocess.run([python, str(DSPY)], input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"dspy's search failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


# -- the model behind a server ---------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Chat completions as OpenAI's API has them, and `/score`. The model 'search' has `calls`, then it says nothing."""

    request_queue_size = 64

    def __init__(self, speaker: ModelSpeaker, goal: Combined, calls: int, study: Study) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.goal, self.calls, self.made = goal, calls, 0
        self._speaker, self._longest = speaker, study.settings.max_new_tokens
        self._waiting: queue.Queue[tuple[list[dict[str, str]], Future[str]] | None] = queue.Queue()
        self._lock = threading.Lock()

    def answer(self, model: str, messages: list[dict[str, str]]) -> str:
        if model == "search":
            with self._lock:
                if self.made >= self.calls:
                    return ""
                self.made += 1
        said: Future[str] = Future()
        self._waiting.put((messages, said))
        return said.result()

    def speak(self) -> None:
        """Answer whatever waits, together, until None does."""
        while first := self._waiting.get():
            time.sleep(GATHER)
            some = [first]
            while len(some) < AT_ONCE and not self._waiting.empty():
                if (one := self._waiting.get()) is None:
                    return
                some.append(one)
            spoken = self._speaker.answers([messages for messages, _ in some], self._longest)
            for (_, said), each in zip(some, spoken, strict=True):
                said.set_result(each.text if each else "")

    def end(self) -> None:
        self._waiting.put(None)


class _Handler(BaseHTTPRequestHandler):
    server: Any  # a Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/score":
            (score,) = self.server.goal([Answered("", asked["answer"], asked["reference"])]).total
            return self._say({"score": score})
        text = self.server.answer(asked["model"], asked["messages"])
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        told = {"id": "0", "object": "chat.completion", "created": 0, "model": asked["model"]}
        return self._say({**told, "choices": [choice], "usage": usage})

    def _say(self, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(server: Server) -> Iterator[Server]:
    threads = [threading.Thread(target=each) for each in (server.serve_forever, server.speak)]
    for each in threads:
        each.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.end()
        for each in threads:
            each.join()
        server.server_close()


PARTS = {"found": found, "dspy": dspy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--sets", type=int, default=32)
    parser.add_argument("--sealed", type=int, default=64)
    parser.add_argument("--dspy", help="a Python that has dspy 3")
    parser.add_argument("--forms", default="plain,chat", help="how dspy asks: as ours does, and in its own form")
    _report.measure(RESULTS, PARTS, parser)


if __name__ == "__main__":
    main()
