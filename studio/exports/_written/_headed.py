"""What objectives share whose model only reads: a head on top of the model's body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from studio.exports import Source, _written
from studio.exports import _texts as texts
from studio.exports._written import Named

if TYPE_CHECKING:
    from studio.data.dataset import Dataset
    from studio.data.templates import Mapping as Columns

_NO_POOLER = "model.pooler = None  # the head reads the hidden states instead\n"

_HEADED = '''\
class Headed(torch.nn.Module):
    """The model without its output layer, and a head on top: a linear layer."""

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.head = torch.nn.Linear(body.config.get_text_config().hidden_size, «outputs», device=DEVICE)
        torch.nn.init.«begins»
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, ids):
        """What the head says of texts of these tokens, of shape (texts, outputs)."""
        shown = mask(ids)
        with «computed»«noisy»:
            states = self.body(input_ids=padded(ids), attention_mask=shown).last_hidden_state
        states = states.float()  # «what»
        return self.head(«pooled»)


'''
_LAST = (
    "of these the last token's: it alone has read the whole text",
    "states[torch.arange(len(ids)), shown.sum(1) - 1]",
)
_MEAN = ("of these the mean over the text's tokens", "(states * shown[..., None]).sum(1) / shown.sum(1, keepdim=True)")

_GROUPS = """\
def groups(model):
    return [
        {"params": [weight for weight in model.body.parameters() if weight.requires_grad], "rate": LEARNING_RATE},
        {"params": list(model.head.parameters()), "rate": HEAD_LEARNING_RATE},
    ]


"""
_DECAYED = """\
    return [
        {
            "params": [weight for name, weight in learning if name.startswith(part) and (name in decays) == pulled],
            "weight_decay": WEIGHT_DECAY * pulled,
            "rate": rate,
        }
        for part, rate in (("body.", LEARNING_RATE), ("head.", HEAD_LEARNING_RATE))
        for pulled in (True, False)
    ]


"""
_BEGIN = """\
model = Headed(attach(model))
score(0)
"""
_SAVE = """\
        model.body.save_pretrained(OUT)
        save_file(model.head.state_dict(), OUT / "head.safetensors")
"""


class Headed(_written.Program):
    """Base of them. The head starts anew, so that the first score is that of a head that knows nothing."""

    model: ClassVar[str] = "AutoModel"
    body: ClassVar[str] = "model.body"
    imports: ClassVar[str] = "from safetensors.torch import save_file\n"
    begin: ClassVar[str] = _BEGIN
    groups: ClassVar[str] = _GROUPS
    decayed: ClassVar[str] = texts.DECAYS + _DECAYED
    rate: ClassVar[str] = 'group["rate"]'
    save: ClassVar[str] = _SAVE

    def __init__(self, source: Source, train: Dataset, columns: Columns, config: Any, tokenizer: Any) -> None:
        from studio.models.heads import is_causal

        super().__init__(source, train, columns, config, tokenizer)
        self.causal = is_causal(config)

    def settings(self) -> Named:
        return {**super().settings(), **self.named("head_learning_rate")}

    def settled(self) -> str:
        return "" if self.causal else _NO_POOLER

    def headed(self, outputs: str, begins: str) -> str:
        """The class; `outputs` says how many numbers its head gives, `begins` calls one of torch.nn.init."""
        what, pooled = _LAST if self.causal else _MEAN
        return texts.filled(_HEADED, what=what, outputs=outputs, begins=begins, pooled=pooled)
