"""The fixed text of a program that reproduces a run. What stands between « and » is filled in by `_recipe.py`."""

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
ROWS = """\
`train.jsonl` and `eval.jsonl` hold the rows as the model saw them: `text` is what its chat template made of a
conversation (`tokenizer.apply_chat_template(messages, tokenize=False)`), `learnt` the stretches of it, in characters,
that count in the loss: the answers with the marks at their end. Plain text is learnt whole."""
PACKED = """

Texts are packed: all tokens end to end, cut into blocks of equal length, so that nothing is cut away and no batch is
half empty."""
MODEL = "The base model, in the number format that the run used."
LEARNS = "Random numbers are drawn from the run's seed just before, so that what learns begins as it did there."
LOSS = """\
Cross-entropy: how surprised the model is by each token that it is to learn, in nats. The prediction for a token stands
at the one before it. The sum over a whole update is divided by its number of learnt tokens, so that each counts alike,
whatever the length of its row."""
ORDER = "Each epoch goes through all rows once, in another order. An update takes so many of them."
RATE = "It rises first, for early gradients are noisy, and falls to the end, for the last steps should be small."
OPTIMIZER = "AdamW, with the usual averages."
TRAINING = """\
The loop itself: predict, compare, find the gradient, shorten it where it is too long, take a step. Every so often the
rows held out are scored. Step 0 is the model as it was."""
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
«peft»from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, «bits»set_seed
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
"""

ENCODE_CHAT = '''
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

ENCODE_TEXT = '''
def encode(row):
    """Token ids of a text and their labels, which are the same: all of it is learnt, the end of the text, too."""
    ids = tokenizer(row["text"])["input_ids"]
    if ids[-1:] != [tokenizer.eos_token_id]:
        ids.append(tokenizer.eos_token_id)
    return ids«cut», ids«cut»
'''

PACK = '''

def pack(rows):
    """Blocks of MAX_LENGTH tokens; each is a list of the texts, or parts of texts, that lie in it."""
    blocks, room = [[]], MAX_LENGTH
    for ids, labels in rows:
        while ids:
            if not room:
                blocks.append([])
                room = MAX_LENGTH
            blocks[-1].append((ids[:room], labels[:room]))
            taken = min(room, len(ids))
            ids, labels, room = ids[taken:], labels[taken:], room - taken
    return [block for block in blocks if learnt(block)]


def learnt(block):
    """How many tokens count in the loss. The first of a text, or of its part, is never predicted."""
    return sum(label != -100 for _, labels in block for label in labels[1:])


def length(block):
    return sum(len(ids) for ids, _ in block)
'''

_ROW = '''

def learnt(row):
    """How many tokens count in the loss. The first is never predicted."""
    return sum(label != -100 for label in row[1][1:])


def length(row):
    return len(row[0])
'''

# Where texts cannot be kept apart within a block.
PACK_WHOLE = (
    '''

def pack(rows):
    """Blocks of MAX_LENGTH tokens, all texts end to end; the first token of each is not predicted from another."""
    ids = [token for row, _ in rows for token in row]
    labels = [label for _, row in rows for label in [-100, *row[1:]]]
    blocks = [(ids[at : at + MAX_LENGTH], labels[at : at + MAX_LENGTH]) for at in range(0, len(ids), MAX_LENGTH)]
    return [block for block in blocks if learnt(block)]
'''
    + _ROW
)

NOT_PACKED = _ROW

READ = """

def read(name):
    return «pack»[encode(row) for row in lines_of(name)]«packed»


train_rows, eval_rows = read("train.jsonl"), read("eval.jsonl")
print(f"{len(train_rows)} to learn from, {len(eval_rows)} held out")
"""

LOAD = """\
model = AutoModelForCausalLM.from_pretrained(
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

BATCH = '''\
def batch(rows):
    """Rows one below the other, padded on the right; the mask hides the padding, and no loss counts it."""
    longest = max(len(ids) for ids, _ in rows)

    def padded(lists, filling):
        return torch.tensor([each + [filling] * (longest - len(each)) for each in lists], device=DEVICE)

    ids, labels = zip(*rows)
    return padded(ids, 0), padded([[1] * len(each) for each in ids], 0), padded(labels, -100)

'''

SUMMED_LOSS = '''
def summed_loss(rows, smoothing=0.0):
    """Cross-entropy over all learnt tokens of some rows, in nats."""
«apart»    ids, mask, labels = batch(rows)
    with torch.autocast(DEVICE, PRODUCTS, enabled=PRODUCTS is not None)«noisy»:
        logits = model(input_ids=ids, attention_mask=mask).logits
«front»    return cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        labels[:, 1:].flatten(),
        ignore_index=-100,
        reduction="sum",
        label_smoothing=smoothing,
    )


@torch.no_grad()
def held_out_loss():
    """Mean over the learnt tokens of the rows held out."""
    model.eval()
    rows = sorted(eval_rows, key=length)
    total = sum(float(summed_loss(rows[at : at + BATCH_SIZE])) for at in range(0, len(rows), BATCH_SIZE))
    model.train()
    return total / max(1, sum(map(learnt, rows)))
'''

APART = "    rows = [row for block in rows for row in block]  # texts of a block see nothing of one another\n"
BEHIND_PROMPT = "    logits = logits[:, -ids.shape[1] :]  # the learnt prompt stands in front\n"

NOISE = '''\
@contextlib.contextmanager
def noise(lengths):
    """Inside, embeddings of a row of L tokens get uniform noise of +- NOISE / sqrt(L x width) (NEFTune)."""

    def add(layer, given, output):
        most = NOISE / (lengths[:, None] * output.shape[-1]).sqrt() if model.training else 0 * lengths[:, None]
        return output + ((torch.rand_like(output) * 2 - 1) * most[..., None]).to(output.dtype)

    handle = model.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


'''
NOISY = ", noise(mask.sum(1).float())"

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
DECAYED = """\
def groups(model):
    \"\"\"Weights are pulled towards zero; biases and norms are not.\"\"\"
    learning = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    decays = set(get_parameter_names(model, [torch.nn.LayerNorm], [
        "bias", "layernorm", "rmsnorm", r"(?:^|\\.)norm(?:$|\\.)", r"_norm(?:$|\\.)",
    ]))
    return [
        {"params": [weight for name, weight in learning if name in decays], "weight_decay": WEIGHT_DECAY},
        {"params": [weight for name, weight in learning if name not in decays], "weight_decay": 0.0},
    ]


"""
_ADAMW = """\
def optimizer_of(model):
    return «made»
"""
ADAMW = _ADAMW.replace(
    "«made»",
    "torch.optim.AdamW(groups(model), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=«fused»)",
)
_EIGHT = "bitsandbytes.optim.AdamW(groups(model), lr=LEARNING_RATE, weight_decay=0.0, optim_bits=8, is_paged=«paged»)"
EIGHT_BITS = {
    "adamw_8bit": _ADAMW.replace("«made»", _EIGHT.replace("«paged»", "False")),
    "paged_adamw_8bit": _ADAMW.replace("«made»", _EIGHT.replace("«paged»", "True")),
}

CLIP = "    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)\n"
NO_CLIP = "    norm = torch.nn.utils.get_total_norm(w.grad for w in model.parameters() if w.grad is not None)\n"

LOOP = """\
losses = []


def tell(**said):
    losses.append(said)
    print(json.dumps(said), flush=True)


def score(step):
    if eval_rows:
        tell(step=step, eval_loss=held_out_loss())


score(0)
model = attach(model)
model.train()
optimizer = optimizer_of(model)
order = updates()
for step in range(1, LAST_STEP + 1):
    rows = next(order)
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * factor(step - 1)
    tokens = max(1, sum(map(learnt, rows)))
    loss = 0.0
    for at in range(0, len(rows), BATCH_SIZE):  # several batches for one update: 'Gradient accumulation'
        part = summed_loss(rows[at : at + BATCH_SIZE], LABEL_SMOOTHING) / tokens
        part.backward()
        loss += part.item()
«clip»    optimizer.step()
    optimizer.zero_grad()
    tell(step=step, loss=loss, grad_norm=float(norm), learning_rate=LEARNING_RATE * factor(step - 1))
    if step % EVAL_STEPS == 0 or step == STEPS:
        score(step)
    if step == KEPT_STEP:
        model.save_pretrained(OUT)
        tokenizer.save_pretrained(OUT)
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
