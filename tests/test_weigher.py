"""A run's update, weighed in a process of its own and kept with the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from studio.adapter import save
from studio.child import Progress
from studio.config import RunConfig
from studio.errors import ModelError
from studio.evaluation.spectrum import Anatomy
from studio.methods.full import Full
from studio.methods.lora import Lora
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.models.vocabulary import extend, remembered
from studio.store import Store
from studio.weigher import Weigher, kept
from studio.workspace import RunFolder, Workspace
from tabs import adapter

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

Config = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def weigher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weigher]:
    running = Weigher(Workspace(tmp_path_factory.mktemp("weigher")).create())  # where its log is
    yield running
    running.close()


@pytest.fixture
def run(workspace: Workspace, tiny_config: Config) -> RunFolder:
    """A run whose every adapted layer got an update of rank 1 but one, which got rank 4."""
    folder = workspace.new_run("lora")
    tiny_config().save(folder.config)
    adapt(folder)
    return folder


def adapt(folder: RunFolder, scale: float = 0.01) -> None:
    torch.manual_seed(0)
    model = Lora(r=4).attach(tiny_model())
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            directions = 4 if "layers.1.mlp.up_proj" in name else 1
            weight.data[:, :directions] = scale * torch.randn(len(weight), directions)
    save(model, folder.adapter)


def weighed(weigher: Weigher, folder: RunFolder) -> tuple[list[Progress], Anatomy]:
    *progress, last = weigher.weigh(folder)
    assert isinstance(last, Anatomy)
    return [each for each in progress if isinstance(each, Progress)], last


def test_it_tells_each_layer_and_how_far_it_is(weigher: Weigher, run: RunFolder) -> None:
    progress, found = weighed(weigher, run)
    assert [(each.done, each.total) for each in progress][-1] == (13, 14)  # 7 linear layers in each of 2 blocks
    assert found.rank == 4
    assert {(layer.block, layer.rank99) for layer in found.layers if layer.kind == "mlp.up_proj"} == {(0, 1), (1, 4)}
    assert found.sentence.startswith("Rank 1 would have held 99 % of the update in 13 of 14 layers.")
    assert "lower it to 1" in found.advice


def test_it_is_asked_once_and_again_when_the_adapter_is_another(weigher: Weigher, run: RunFolder) -> None:
    _, first = weighed(weigher, run)
    assert kept(run) == first
    assert weighed(weigher, run) == ([], first)  # without a word from the process
    adapt(run, scale=0.1)
    assert kept(run) is None
    _, second = weighed(weigher, run)
    assert second.layers[0].norm == pytest.approx(10 * first.layers[0].norm, rel=1e-3)


def test_what_was_kept_badly_is_worked_out_anew(weigher: Weigher, run: RunFolder) -> None:
    for text in ("{", "[]", '{"of": 1}', json.dumps({"of": None, "anatomy": {}})):
        run.anatomy.write_text(text)
        assert kept(run) is None
    assert weighed(weigher, run)[1].layers


def test_closing_ends_it_and_the_next_is_answered(weigher: Weigher, run: RunFolder) -> None:
    asked: Any = weigher.weigh(run)
    next(asked)
    asked.close()
    assert weighed(weigher, run)[1].layers


def test_a_base_whose_vocabulary_grew_is_grown_again(weigher: Weigher, run: RunFolder, tiny_config: Config) -> None:
    model, terms = tiny_model(), ["the number is"]
    extend(model, tiny_tokenizer(), terms)
    attached = Full().attach(model)
    attached.get_input_embeddings().weight.data[-1] += 1
    save(attached, run.adapter, remembered(terms))
    tiny_config().model_copy(update={"method": Full()}).save(run.config)
    changed = [layer for layer in weighed(weigher, run)[1].layers if layer.norm > 0]
    assert [(layer.kind, layer.shape, layer.rank99) for layer in changed] == [("model.embed_tokens", [260, 64], 1)]


def test_the_rows_of_new_tokens_say_nothing_of_the_rank(weigher: Weigher, run: RunFolder, tiny_config: Config) -> None:
    model, terms = tiny_model(), ["the number is", "say"]
    extend(model, tiny_tokenizer(), terms)
    attached = Lora(r=4).attach(model)
    torch.manual_seed(0)
    for name, weight in attached.named_parameters():
        if "lora_B" in name:
            weight.data[:, :1] = 0.01 * torch.randn(len(weight), 1)
        elif weight.requires_grad and "token" in name:
            weight.data += torch.randn_like(weight)
    save(attached, run.adapter, remembered(terms))
    found = weighed(weigher, run)[1]
    assert found.rank == 4
    assert "in 14 of 14 layers" in found.sentence
    assert "embed_tokens" not in found.sentence
    assert "lower it to 1" in found.advice
    assert [layer.rank99 for layer in found.layers if layer.kind == "model.embed_tokens"] == [2]


def test_a_run_without_an_adapter_is_refused(weigher: Weigher, workspace: Workspace, tiny_config: Config) -> None:
    folder = workspace.new_run("none")
    tiny_config().save(folder.config)
    with pytest.raises(ModelError, match="saved no adapter"):
        list(weigher.weigh(folder))


def test_a_base_that_is_gone_is_refused(weigher: Weigher, run: RunFolder, tiny_config: Config) -> None:
    tiny_config(model="HuggingFaceTB/SmolLM2-360M-Instruct").save(run.config)
    with pytest.raises(ModelError, match="not on this machine any more"):
        list(weigher.weigh(run))


# -- the tab ----------------------------------------------------------------------------------------


@pytest.fixture
def page(workspace: Workspace, weigher: Weigher) -> Any:
    return SimpleNamespace(workspace=workspace, store=Store(workspace), weigher=weigher)


def test_the_tab_says_what_to_do_first(page: Any, run: RunFolder, tiny_config: Config) -> None:
    assert adapter.look(page, None)[0] == adapter.NO_RUNS
    assert adapter.look(page, "deleted")[0] == adapter.NO_RUNS
    told, drawn, button = adapter.look(page, run.id)
    assert (told, drawn, button.visible) == (adapter.ASK_FIRST, {}, True)
    unsaved = page.workspace.new_run("unsaved")
    tiny_config().save(unsaved.config)
    assert adapter.look(page, unsaved.id)[0] == adapter.NOT_SAVED


def test_the_tab_draws_what_was_found_and_finds_it_again(page: Any, run: RunFolder) -> None:
    *_, (told, drawn, button) = adapter.weighed(page, run.id)
    assert "Rank 1 would have held 99 %" in told
    assert {layer["kind"] for layer in drawn["layers"]} >= {"q_proj", "up_proj"}
    assert not button.visible
    assert adapter.look(page, run.id)[:2] == (told, drawn)


def test_after_a_fault_the_button_is_there_again(page: Any, run: RunFolder, tiny_config: Config) -> None:
    tiny_config(model="HuggingFaceTB/SmolLM2-360M-Instruct").save(run.config)
    answers, seen = adapter.weighed(page, run.id), []
    with pytest.raises(ModelError):
        seen.extend(answers)
    told, _, button = seen[-1]
    assert told == adapter.ASK_FIRST
    assert (button.visible, button.interactive) == (True, True)
