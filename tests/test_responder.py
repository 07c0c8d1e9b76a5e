"""The chat's process answers for a run, and can be stopped, killed and asked again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.config import RunConfig
from studio.errors import ModelError
from studio.jobs import Jobs
from studio.responder import Responder, Sampling
from studio.store import wait_for_end

ASKED = [{"role": "user", "content": "say 1"}]
SHORT = Sampling(max_new_tokens=4)


def test_a_trained_run_answers(jobs: Jobs, tiny_config: Callable[..., RunConfig]) -> None:
    run_id = jobs.submit(tiny_config())
    wait_for_end(jobs.store, run_id, 120)
    folder = jobs.workspace.run(run_id)
    responder = Responder(jobs.workspace)
    try:
        first = list(responder.ask(folder, ASKED, adapter=True, sampling=SHORT))
        assert first[0].text == "Waking the model"
        again = list(responder.ask(folder, ASKED, adapter=True, sampling=SHORT))
        assert again == [piece for piece in first if piece.kind == "text"]  # what is loaded stays loaded

        stopped = responder.ask(folder, ASKED, adapter=False, sampling=Sampling(max_new_tokens=1500))
        next(stopped)
        stopped.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator, whatever its type says
        assert list(responder.ask(folder, ASKED, adapter=True, sampling=SHORT)) == again

        responder.close()
        woken = list(responder.ask(folder, ASKED, adapter=True, sampling=SHORT))
        assert woken == first

        folder.adapter.rename(folder.path / "elsewhere")
        with pytest.raises(ModelError, match="saved no adapter"):
            list(responder.ask(folder, ASKED, adapter=True, sampling=SHORT))
    finally:
        responder.close()


def test_a_run_that_labels_says_its_labels(jobs: Jobs, tiny_config: Callable[..., RunConfig], tmp_path: Path) -> None:
    rows = [{"text": f"{'fine' if i % 2 else 'awful'} {i}", "label": "good" if i % 2 else "bad"} for i in range(40)]
    path = tmp_path / "moods.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    columns = {"text": "text", "label": "label"}
    data = {"source": str(path), "format": "labelled", "columns": columns}
    run_id = jobs.submit(tiny_config(dataset=data, objective={"name": "classify", "max_length": 64}))
    state = wait_for_end(jobs.store, run_id, 120)
    folder = jobs.workspace.run(run_id)
    assert state.status == "done", folder.log.read_text()
    assert not state.writes
    assert state.labels
    assert state.labels.heads[0]["labels"] == ["bad", "good"]
    responder = Responder(jobs.workspace)
    try:
        first, *_, said = responder.label(folder, "fine <b>7</b>")
        assert first == "Waking the model"
        assert isinstance(said, dict)
        (labels,) = said.values()
        assert isinstance(labels, list)
        assert {label for label, _ in labels} == {"good", "bad"}
        assert labels[0][1] >= labels[1][1]
        assert sum(share for _, share in labels) == pytest.approx(1)
        assert list(responder.label(folder, "fine <b>7</b>")) == [said]  # what is loaded stays loaded
    finally:
        responder.close()
