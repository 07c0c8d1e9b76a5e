"""The fixed text of a program that reproduces a run; what stands between « and » is filled in.

What is one objective's own stands in `_written`.
"""

from __future__ import annotations

WIDE = 118  # letters of a line, without the mark of a comment

HEAD = '''\
"""A fine-tuning run written out: what the studio did, in one file to read from top to bottom.

    pip install -r requirements.txt
    python train.py

train.jsonl and eval.jsonl beside it are the rows as the run learnt from them and scored itself on. What is learnt, and
losses.jsonl, come into the folder 'out'.
"""

'''
TITLE = """\
# A fine-tuning run, written out

What the studio did, step by step and without it. Run the cells from top to bottom, with the files that came along in
the same folder."""
INSTALL = "`pip install -r requirements.txt` brings them in the versions that the run computed with."

# -- what is said above each stretch -----------------------------------------------------------------------

WHERE = "Files that came along lie beside this one; what comes of it goes into a folder of its own."

NEEDED = "Three libraries, and no studio: transformers loads the model, peft adds what learns, torch computes."
SETTINGS = "Every setting of the run, with the label it has in the studio's form. Change one and look what happens."
MODEL = "The base model, in the number format that the run used."
LEARNS = "Random numbers are drawn from the run's seed just before, so that what learns begins as it did there."
ORDER = "Each epoch goes through all rows once, in another order. An update takes so many of them."
RATE = "It rises first, for early gradients are noisy, and falls to the end, for the last steps should be small."
OPTIMIZER = "AdamW, with the usual averages."
TRAINING = """\
The loop itself: predict, compare, find the gradient, shorten it where it is too long, take a step. Every so often the
rows held out are scored; step 0 is before the first update."""
COMPARED = """\
`curve.jsonl` holds the losses of the run. In float32 on a CPU they agree to some decimals: the studio lays rows side by
side where this program pads them, so that sums are taken in another order. They agree less on a GPU and in bfloat16,
and only roughly with dropout or noise, whose random numbers fall on other places."""

# -- what is said above some settings ----------------------------------------------------------------------

WHICH_MODEL = "'Model': a name on the Hub, or a folder."
STEPS = "'Epochs' or 'Steps': so many updates were planned, and the schedule is made for them."
ENDS = "The last update that was taken, and the one whose weights were kept."
FORMATS = "'Number format' of the weights that stay as they are; and of matrix products, where that is another."

# -- code ------------------------------------------------------------------------------------------------

IMPORTS = """\
«argparse»«contextlib»import json
import math
import random
from pathlib import Path

«optimizer»import torch
«peft»«more»«functions»from transformers import «model», AutoTokenizer, «bits»set_seed
«names»"""

NAMES = "from transformers.trainer_pt_utils import get_parameter_names\n"

HERE_SCRIPT = """\
parser = argparse.ArgumentParser(description="Train as the run did.")
parser.add_argument("--model", default=MODEL, help="a name on the Hub, or a folder")
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what is learnt and for losses.jsonl")
arguments = parser.parse_args()
HERE, OUT = Path(__file__).resolve().parent, arguments.out
MODEL = arguments.model or parser.error("say with --model in which folder the model lies")
"""
HERE_NOTEBOOK = """\
HERE, OUT = Path().resolve(), Path("out")
"""
HERE = """\
if (HERE / MODEL).is_dir():  # it came along
    MODEL = str(HERE / MODEL)
OUT.mkdir(parents=True, exist_ok=True)
DEVICE = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def lines_of(name):
    with (HERE / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
"""

READING = """\
tokenizer = AutoTokenizer.from_pretrained(MODEL)
«template»
«read»

train_rows, eval_rows = read("train.jsonl"), read("eval.jsonl")[:EVAL_ROWS]
print(f"{len(train_rows)} to learn from, {len(eval_rows)} held out")
"""

ENCODE = '''
def encode(row):
    """Token ids of a row and their labels: a token's own id where it is learnt, else -100, which no loss counts."""
    tokens = tokenizer(row["text"], add_special_tokens=False, return_offsets_mapping=True)
    ids = tokens["input_ids"]
    labels = [
        token if any(start < token_end and token_start < end for start, end in row["learnt"]) else -100
        for token, (token_start, token_end) in zip(ids, tokens["offset_mapping"])
    ]
    return ids«cut», labels«cut»
'''

LOAD = """\
model = «model».from_pretrained(
    MODEL,
    dtype=DTYPE,
    device_map={"": DEVICE},
«more»)
"""

NEVER_PACK = """\
for layer in model.modules():  # some CPUs would pack 4-bit weights at the first evaluation: gradients would be wrong
    if hasattr(layer, "support_avx512bf16_for_cpu"):
        layer.support_avx512bf16_for_cpu = False
"""

CHECKPOINTS = """\
model.activation_checkpointing_enable({"use_reentrant": False})  # 'Gradient checkpointing': the same, in less memory
"""

ATTACH = """\
config = «config»


def attach(model):
    set_seed(SEED)
    model = get_peft_model(model, config)
    model.print_trainable_parameters()
    return model
"""

ALL_LEARN = """\
def attach(model):
    set_seed(SEED)
    return model.requires_grad_(True)  # every weight learns
"""

PADDED = '''\
def padded(lists, filling=0):
    """One below the other, filled up on the right to the length of the longest."""
    longest = max(map(len, lists))
    return torch.tensor([each + [filling] * (longest - len(each)) for each in lists], device=DEVICE)


def mask(lists):
    """1 where there is a token, 0 where a list is filled up."""
    return padded([[1] * len(each) for each in lists])


'''

COMPUTED = "torch.autocast(DEVICE, PRODUCTS, enabled=PRODUCTS is not None)"

BEHIND_PROMPT = "    logits = logits[:, -labels.shape[1] :]  # the learnt prompt stands in front\n"

HELD_OUT = '''

@torch.no_grad()
def held_out_loss():
    """That of the rows held out."""
    model.eval()
    rows = sorted(eval_rows, key=length)
    total = sum(float(summed_loss(rows[at : at + BATCH_SIZE])) for at in range(0, len(rows), BATCH_SIZE))
    model.train()
    return total / max(1, «items»)
'''

NOISE = '''\
@contextlib.contextmanager
def noise(shown):
    """Inside, embeddings of a row of L tokens get uniform noise of +- NOISE / sqrt(L x width) (NEFTune)."""

    lengths = shown.sum(1)[:, None].float()

    def add(layer, given, output):
        most = NOISE / (lengths * output.shape[-1]).sqrt() if model.training else 0 * lengths
        return output + ((torch.rand_like(output) * 2 - 1) * most[..., None]).to(output.dtype)

    handle = «body».get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


'''
NOISY = ", noise(shown)"

SHUFFLED = '''\
def updates():
    """The rows of each update, epoch after epoch."""
    epoch = 0
    while True:
        order = list(range(len(train_rows)))
        random.Random(SEED + epoch).shuffle(order)
        for at in range(0, len(order), BATCH_SIZE * ACCUMULATION):
            yield [train_rows[i] for i in order[at : at + BATCH_SIZE * ACCUMULATION]]
        epoch += 1
'''

GROUPED = '''\
def grouped(seed):
    """A random order in which the rows of a batch are of similar length, so that little is padded."""
    lengths = [length(row) for row in train_rows]
    order = list(range(len(train_rows)))
    random.Random(seed).shuffle(order)
    batches = []
    for start in range(0, len(order), 16 * BATCH_SIZE):  # sorted within pools, so that the order stays random
        pool = sorted(order[start : start + 16 * BATCH_SIZE], key=lambda row: lengths[row])
        batches += [pool[i : i + BATCH_SIZE] for i in range(0, len(pool), BATCH_SIZE)]
    short = [batch for batch in batches if len(batch) < BATCH_SIZE]  # one at most; it stays last
    batches = [batch for batch in batches if len(batch) == BATCH_SIZE]
    random.Random(f"{seed} batches").shuffle(batches)
    return [row for batch in batches + short for row in batch]


def updates():
    """The rows of each update, epoch after epoch."""
    epoch = 0
    while True:
        order = grouped(SEED + epoch)
        for at in range(0, len(order), BATCH_SIZE * ACCUMULATION):
            yield [train_rows[i] for i in order[at : at + BATCH_SIZE * ACCUMULATION]]
        epoch += 1
'''

_RISES = '''\
def factor(update):
    """On the learning rate, for an update counted from 0."""
    if update < WARMUP:
        return (update + 1) / (WARMUP + 1)
'''
SCHEDULES = {
    "linear": _RISES + "    return 1 - (update - WARMUP) / max(1, STEPS - WARMUP)\n",
    "cosine": _RISES + "    return 0.5 + 0.5 * math.cos(math.pi * (update - WARMUP) / max(1, STEPS - WARMUP))\n",
    "constant": _RISES + "    return 1.0\n",
    "warmup_stable_decay": _RISES + "    return 1 - math.sqrt(max(0, update + 1 - (STEPS - DECAY)) / (DECAY + 1))\n",
}

ALIKE = """\
def groups(model):
    return [{"params": [weight for weight in model.parameters() if weight.requires_grad]}]


"""
DECAYS = """\
def groups(model):
    \"\"\"Weights are pulled towards zero; biases and norms are not.\"\"\"
    learning = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    decays = set(get_parameter_names(model, [torch.nn.LayerNorm], [
        "bias", "layernorm", "rmsnorm", r"(?:^|\\.)norm(?:$|\\.)", r"_norm(?:$|\\.)",
    ]))
"""
DECAYED = (
    DECAYS
    + """\
    return [
        {"params": [weight for name, weight in learning if name in decays], "weight_decay": WEIGHT_DECAY},
        {"params": [weight for name, weight in learning if name not in decays], "weight_decay": 0.0},
    ]


"""
)
_ADAMW = """\
def optimizer_of(model):
    return «made»
"""
ADAMW = _ADAMW.replace(
    "«made»",
    """torch.optim.AdamW(
        groups(model), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=«fused»
    )""",
)
_EIGHT = "bitsandbytes.optim.AdamW(groups(model), lr=LEARNING_RATE, weight_decay=0.0, optim_bits=8, is_paged=«paged»)"
EIGHT_BITS = {
    "adamw_8bit": _ADAMW.replace("«made»", _EIGHT.replace("«paged»", "False")),
    "paged_adamw_8bit": _ADAMW.replace("«made»", _EIGHT.replace("«paged»", "True")),
}

CLIP = "    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)\n"
NO_CLIP = "    norm = torch.nn.utils.get_total_norm(w.grad for w in model.parameters() if w.grad is not None)\n"

BEGIN = """\
score(0)
model = attach(model)
"""
SAVE = "        model.save_pretrained(OUT)\n"

LOOP = """\
losses = []


def tell(**said):
    losses.append(said)
    print(json.dumps(said), flush=True)


def score(step):
    if eval_rows:
        tell(step=step, eval_loss=held_out_loss())


«begin»model.train()
optimizer = optimizer_of(model)
order = updates()
for step in range(1, LAST_STEP + 1):
    rows = next(order)
    for group in optimizer.param_groups:
        group["lr"] = «rate» * factor(step - 1)
    items = max(1, «items»)
    loss = 0.0
    for at in range(0, len(rows), BATCH_SIZE):  # several batches for one update: 'Gradient accumulation'
        part = summed_loss(rows[at : at + BATCH_SIZE]«smoothing») / items
        part.backward()
        loss += part.item()
«clip»    optimizer.step()
    optimizer.zero_grad()
    tell(step=step, loss=loss, grad_norm=float(norm), learning_rate=LEARNING_RATE * factor(step - 1))
    if step % EVAL_STEPS == 0 or step == STEPS:
        score(step)
    if step == KEPT_STEP:
«save»        tokenizer.save_pretrained(OUT)
(OUT / "losses.jsonl").write_text("".join(json.dumps(each) + "\\n" for each in losses), encoding="utf-8")
"""

COMPARISON = """\
there = lines_of("curve.jsonl")
for curve in ("loss", "eval_loss"):
    mine = {each["step"]: each[curve] for each in losses if curve in each}
    apart = [abs(each[curve] - mine[each["step"]]) for each in there if curve in each and each["step"] in mine]
    if apart:
        print(f"{curve}: at most {max(apart):.2g} away from the run's, at {len(apart)} steps")
"""


def filled(text: str, **values: str) -> str:
    """`text` with each «name» replaced."""
    for name, value in values.items():
        text = text.replace(f"«{name}»", value)
    return text
