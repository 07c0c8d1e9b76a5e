"""What a model is made of and costs, beside what torch counts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from studio import cli
from studio.adapter import save
from studio.card import CONTEXT, Card, card_of, forward_flops, lines
from studio.carder import Carder
from studio.child import Progress
from studio.config import RunConfig
from studio.errors import ModelError, RunError
from studio.methods.full import Full
from studio.methods.lora import Lora
from studio.models.machine import bytes_per_parameter
from studio.models.starter import STARTER
from studio.models.structure import Structure
from studio.models.tiny import tiny_model, tiny_shapes
from studio.rehearsal import device_now
from studio.workspace import RunFolder, Workspace

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft

Config = Callable[..., RunConfig]


@pytest.fixture
def carder(workspace: Workspace) -> Iterator[Carder]:
    running = Carder(workspace)
    yield running
    running.close()


@pytest.fixture
def run(workspace: Workspace, tiny_config: Config) -> RunFolder:
    folder = workspace.new_run("lora")
    tiny_config().save(folder.config)
    save(Lora(r=4).attach(tiny_model()), folder.adapter)
    return folder


@pytest.mark.parametrize("tokens", [8, CONTEXT])
def test_the_work_of_a_token_is_what_torch_counts(tokens: int) -> None:
    """Torch counts all pairs of tokens in attention; a token attends to those before it, half of them."""
    model = tiny_model()
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=torch.zeros(1, tokens, dtype=torch.long))
    told = forward_flops(Structure(tiny_shapes()), tokens)
    assert told is not None
    assert counter.get_total_flops() == tokens * (told + 2 * tokens * 64 * 2)  # 2 layers, 64 wide


def test_the_work_of_the_starter_by_hand() -> None:
    """30 layers of 576 with 3 heads of keys, 1,536 between, 49,152 tokens: 2 N + 2 n_layer n_ctx d_attn + the head."""
    weights = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    structure = Structure(STARTER.shapes)
    assert forward_flops(structure, 0) == 2 * weights + 2 * 576 * 49152
    assert forward_flops(structure, 1000, writes=False) == 2 * weights + 2 * 30 * 1000 * 576


def test_experts_are_not_told_by_shapes() -> None:
    shapes = tiny_shapes() | {"model.layers.0.mlp.experts.0.up_proj.weight": (128, 64)}
    assert forward_flops(Structure(shapes), 8) is None


def test_a_base(workspace: Workspace) -> None:
    card = card_of(workspace, "tiny")
    assert card.parameters == sum(each.numel() for each in tiny_model().parameters()) == 90_624
    assert card.weights == 90_624 * bytes_per_parameter()
    assert (card.trainable, card.share, card.saved, card.run, card.rate) == (None, None, None, "", None)
    assert card.cache % (2 * 2 * 32) == 0  # 2 layers, keys and values, 2 heads of 16


def test_a_run(workspace: Workspace, run: RunFolder) -> None:
    card, base = card_of(workspace, run=run.path.name), card_of(workspace, "tiny")
    model = Lora(r=4).attach(tiny_model())
    learnt = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert card.trainable == learnt
    assert card.parameters == sum(each.numel() for each in model.parameters())
    assert card.share == learnt / card.parameters
    assert card.saved == (run.adapter / "adapter_model.safetensors").stat().st_size
    assert card.flops is not None
    assert base.flops is not None
    assert card.flops - base.flops == 2 * learnt
    assert json.loads(json.dumps(card.plain()))["share"] == card.share


def test_a_run_of_all_weights_has_none_beside_the_bases(
    workspace: Workspace,
) -> None:
    folder = workspace.new_run("full")
    RunConfig.parse({"model": "tiny", "method": {"name": "full"}}).save(folder.config)
    save(Full().attach(tiny_model()), folder.adapter)
    card = card_of(workspace, run=folder.path.name)
    assert (card.parameters, card.trainable, card.share) == (90_624, 90_624, 1.0)
    assert card.flops == card_of(workspace, "tiny").flops


def test_a_folder(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("model")
    tiny_model().save_pretrained(folder)
    card = card_of(workspace, str(folder))
    assert card.parameters == 90_624
    assert card.disk == (folder / "model.safetensors").stat().st_size


def test_what_is_not_here_has_none(workspace: Workspace, run: RunFolder) -> None:
    with pytest.raises(ModelError, match="not on this machine"):
        card_of(workspace, "nobody/has-this-model")
    shutil.rmtree(run.adapter)
    with pytest.raises(ModelError, match="saved no adapter"):
        card_of(workspace, run=run.path.name)


def test_a_pass_is_measured(workspace: Workspace, carder: Carder, run: RunFolder) -> None:
    *told, card = carder.measure(run=run.path.name, passes=3)
    assert all(isinstance(each, Progress) for each in told)
    assert isinstance(card, Card)
    assert card.forward is not None
    assert card.forward.passes == 3
    assert 0 < card.forward.milliseconds <= card.forward.slowest
    assert card.forward.peak > 0
    assert card.rate is not None
    said = {name: value for name, value, _ in lines(card)}
    assert said["Forward pass"] == f"{card.forward.milliseconds:,.3g} ms"
    assert said["Learnt"].endswith(f"({card.share:.2%})")
    assert card.plain()["flops_per_second"] == card.rate


def test_nothing_is_measured_beside_a_run(workspace: Workspace, carder: Carder) -> None:
    with device_now(workspace), pytest.raises(RunError, match="training on this machine"):
        list(carder.measure("tiny"))
    assert carder.child.pid is None


def test_an_encoder_does_not_write(workspace: Workspace) -> None:
    """Its linear layers alone: nothing is written, and what pools is once a text, and not loaded here."""
    card = card_of(workspace, "minilm")
    assert (card.parameters, card.cache) == (22_565_376, 0)
    assert card.flops == 6 * (2 * (4 * 384 * 384 + 2 * 384 * 1536) + 2 * CONTEXT * 384)
    assert card.disk is None  # not fetched


def test_the_command_line_says_it(workspace: Workspace, run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> tuple[int, str]:
        code = cli.main(lambda *_: None, ["card", *words, "--workspace", str(workspace.root)])
        return code, capsys.readouterr().out

    code, text = said("tiny")
    assert (code, text.splitlines()[0].split()[:2]) == (0, ["Parameters", "90.62"])
    code, text = said(str(run.path), "--measure", "--json")
    assert code == 0
    assert json.loads(text)["run"] == run.id
    assert json.loads(text)["forward"]["milliseconds"] > 0
    assert said("nobody/has-this-model") == (1, "")
