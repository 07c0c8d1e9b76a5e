import pytest

from studio.data.formats import FORMATS
from studio.data.rendering import CHAT_TEMPLATES, use_template
from studio.data.templates import Mapping
from studio.data.tokens import IGNORED, Encoded, Report, encode_chat, encode_rows, encode_text
from studio.errors import DatasetError, ModelError
from studio.models.tiny import tiny_tokenizer
from studio.objectives.next_token import NextToken

PAIR = Mapping("prompt_completion", {"prompt": "p", "completion": "c"})


@pytest.fixture
def tokenizer():
    return tiny_tokenizer()


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def chat(messages, tokenizer, max_length) -> Encoded:
    """encode_chat, where something must be learnt."""
    encoded = encode_chat(messages, tokenizer, max_length)
    assert encoded is not None
    return encoded


def text(content, tokenizer, max_length) -> Encoded:
    """encode_text, where there is text."""
    encoded = encode_text(content, tokenizer, max_length)
    assert encoded is not None
    return encoded


def learnt(encoded, tokenizer):
    """The stretches of text that are learnt, in order."""
    parts, current = [], []
    for label in [*encoded.labels, IGNORED]:
        if label != IGNORED:
            current.append(label)
        elif current:
            parts.append(tokenizer.decode(current))
            current = []
    return parts


def test_the_mask_by_hand(tokenizer):
    encoded = chat([user("hi"), assistant("ok")], tokenizer, 100)
    # <|im_start|> u s e r \n h i <|im_end|> \n <|im_start|> a s s i s t a n t \n  o k <|im_end|> \n
    assert len(encoded.input_ids) == 10 + 11 + 4
    wanted = tokenizer("ok<|im_end|>", add_special_tokens=False)["input_ids"]
    assert encoded.labels == [IGNORED] * 21 + wanted + [IGNORED]
    assert encoded.labels[23] == tokenizer.eos_token_id
    assert tokenizer.decode(encoded.input_ids) == tokenizer.apply_chat_template(
        [user("hi"), assistant("ok")], tokenize=False
    )
    assert not encoded.truncated


def test_every_answer_of_a_conversation_is_learnt(tokenizer):
    messages = [{"role": "system", "content": "s"}, user("a"), assistant("é 1"), user("é 1"), assistant("2\n")]
    assert learnt(chat(messages, tokenizer, 500), tokenizer) == ["é 1<|im_end|>", "2\n<|im_end|>"]


def test_a_conversation_that_the_assistant_opens(tokenizer):
    messages = [assistant("Hello"), user("a"), assistant("b")]
    assert learnt(chat(messages, tokenizer, 500), tokenizer) == ["Hello<|im_end|>", "b<|im_end|>"]


def test_an_answer_that_is_cut_off(tokenizer):
    encoded = chat([user("hi"), assistant("hello")], tokenizer, 23)
    assert len(encoded.input_ids) == len(encoded.labels) == 23
    assert encoded.truncated
    assert learnt(encoded, tokenizer) == ["he"]  # and no end: the answer is not over


def test_nothing_is_left_when_the_answer_begins_beyond_the_cut_off(tokenizer):
    assert encode_chat([user("hi"), assistant("ok")], tokenizer, 21) is None
    assert encode_chat([user("hi"), assistant("ok")], tokenizer, 22) is not None


def test_the_first_token_of_all_is_no_lesson(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert encode_chat([assistant("ab")], tokenizer, 1) is None  # nothing stands before it
    assert learnt(chat([assistant("ab")], tokenizer, 2), tokenizer) == ["ab"]


def test_old_turns_written_otherwise_than_the_last(tokenizer):
    # The last answer gets empty thoughts, as Qwen3's template writes them: no prefix of the whole.
    tokenizer.chat_template = CHAT_TEMPLATES["chatml"].replace(
        "message['content'] }}",
        "('<think></think>' if loop.last and message['role'] == 'assistant' else '') + message['content'].strip() }}",
    )
    messages = [user("a"), assistant(" a "), user("b"), assistant("a")]
    assert learnt(chat(messages, tokenizer, 500), tokenizer) == ["a<|im_end|>", "<think></think>a<|im_end|>"]


def test_a_token_that_straddles_the_beginning_of_the_answer_is_learnt(tokenizer):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"Q:x": 0, "▁A:": 1, "▁yes": 2, "?": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ 'Q:' if m['role'] == 'user' else ' A: ' }}{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ ' A: ' }}{% endif %}"
    )
    encoded = chat([user("x"), assistant("yes")], tokenizer, 10)
    assert encoded.input_ids == [0, 1, 2]
    assert encoded.labels == [IGNORED, IGNORED, 2]


def test_plain_template_ends_answers_with_the_end_token(tokenizer):
    use_template(tokenizer, "plain")
    encoded = chat([user("hi"), assistant("ok"), user("b"), assistant("c")], tokenizer, 500)
    assert tokenizer.decode(encoded.input_ids).startswith(
        "### Instruction:\nhi\n\n### Response:\nok<|im_end|>\n\n### Instruction:"
    )
    assert learnt(encoded, tokenizer) == ["ok<|im_end|>", "c<|im_end|>"]


def test_models_without_a_template(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(ModelError) as caught:
        encode_chat([user("hi"), assistant("ok")], tokenizer, 50)
    assert "'chatml'" in caught.value.remedy
    with pytest.raises(ModelError):
        encode_rows([{"p": "a", "c": "b"}], PAIR, tokenizer, 50)
    with pytest.raises(ModelError):
        use_template(tokenizer, "auto")
    assert encode_text("no template needed", tokenizer, 50) is not None
    use_template(tokenizer, "chatml")
    assert learnt(chat([user("hi"), assistant("ok")], tokenizer, 50), tokenizer) == ["ok<|im_end|>"]


def test_chatml_ends_with_the_models_own_end_token_where_it_has_no_mark():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = Tokenizer(models.BPE({token: index for index, token in enumerate(["</s>", *alphabet])}, []))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = use_template(PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>"), "chatml")
    encoded = chat([user("hi"), assistant("ok")], tokenizer, 100)
    assert [label for label in encoded.labels if label != IGNORED][-1] == tokenizer.eos_token_id


def test_text_is_learnt_whole_with_its_end(tokenizer):
    encoded = text("abc", tokenizer, 10)
    assert encoded.labels == encoded.input_ids
    assert len(encoded.input_ids) == 4
    assert encoded.input_ids[-1] == tokenizer.eos_token_id
    cut = text("abc", tokenizer, 3)
    assert cut.truncated
    assert tokenizer.decode(cut.input_ids) == "abc"
    assert encode_text(" \n", tokenizer, 10) is None


def test_rows_are_counted(tokenizer):
    rows = [{"p": "hi", "c": "ok"}, {"p": "hi", "c": ""}, {"p": "hi" * 50, "c": "ok"}, {"p": "hi", "c": "x" * 50}] * 100
    seen = []
    encoded, report = encode_rows(rows, PAIR, tokenizer, 30, lambda done, total: seen.append((done, total)))
    assert len(encoded) == 200
    assert report == Report(truncated=100, skipped=200, tokens=100 * (25 + 30), trained_tokens=100 * (3 + 9))
    assert seen[-1] == (400, 400)
    assert seen == sorted(set(seen))
    assert encoded[0] == chat([user("hi"), assistant("ok")], tokenizer, 30)


def test_text_rows(tokenizer):
    encoded, report = encode_rows([{"t": "ab"}, {"t": None}], Mapping("text", {"text": "t"}), tokenizer, 9)
    assert len(encoded) == 1
    assert report == Report(truncated=0, skipped=1, tokens=3, trained_tokens=2)  # the first has no context


@pytest.mark.parametrize(
    ("rows", "max_length", "says"),
    [
        ([{"p": "hi", "c": "ok"}] * 600, 8, "All 600 rows are longer than the cut-off of 8 tokens before"),
        (
            [{"p": "hi", "c": ""}] * 3,
            100,
            "None of the 3 rows holds anything to learn: in the first, the answer is empty.",
        ),
        ([{"p": "hi", "c": ""}, {"p": "hi", "c": "ok"}], 8, "1 have no answer"),
    ],
)
def test_when_no_row_is_left(tokenizer, rows, max_length, says):
    with pytest.raises(DatasetError) as caught:
        encode_rows(rows, PAIR, tokenizer, max_length)
    assert says in caught.value.problem


def test_rows_of_every_format_are_learnt(tokenizer):
    asked = {"role": "user", "content": "hi"}
    wanted = chat([user("hi"), assistant("ok")], tokenizer, 50)
    rows = {
        "preference": {"prompt": [asked], "chosen": {"from": "gpt", "value": "ok"}, "rejected": "no"},
        "unpaired": {"prompt": "hi", "completion": "ok", "label": "good"},
        "messages": {"messages": [asked, assistant("ok")]},
        "conversations": {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ok"}]},
        "instruction": {"instruction": "hi", "output": "ok"},
        "labelled": {"text": "hi", "label": "ok"},
        "prompt_completion": {"prompt": "hi", "completion": "ok"},
        "text": {"text": "hi"},
    }
    assert set(rows) == set(NextToken.formats) == set(FORMATS)
    for key, row in rows.items():
        encoded, _ = encode_rows([row], Mapping(key, {role: role for role in row}), tokenizer, 50)
        assert encoded == ([text("hi", tokenizer, 50)] if key == "text" else [wanted]), key


def test_bad_answers_and_rejected_ones_are_never_learnt(tokenizer):
    rows = [{"p": "hi", "c": "yes", "l": True}, {"p": "hi", "c": "bad", "l": False}]
    mapping = Mapping("unpaired", {"prompt": "p", "completion": "c", "label": "l"})
    encoded, report = encode_rows(rows, mapping, tokenizer, 50)
    assert [learnt(one, tokenizer) for one in encoded] == [["yes<|im_end|>"]]
    assert report.skipped == 1


def test_a_template_that_refuses_says_why(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(DatasetError, match="System role not supported"):
        encode_rows([{"p": "a", "c": "b"}], PAIR, tokenizer, 50)
