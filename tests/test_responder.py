"""The chat's process answers for a run, and can be stopped, killed and asked again."""

from __future__ import annotations

from collections.abc import Callable

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
