"""A model built in milliseconds out of nothing: for dry runs and tests. It knows no language."""

from __future__ import annotations

from typing import Any

from studio.models.structure import llama_shapes

END_OF_TEXT = "<|endoftext|>"  # the padding token, never the end of a turn
START_OF_TURN = "<|im_start|>"
END_OF_TURN = "<|im_end|>"

_VOCABULARY, _LAYERS, _HIDDEN, _INTERMEDIATE, _HEADS, _KEY_VALUE_HEADS = 259, 2, 64, 128, 4, 2

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_tokenizer() -> Any:
    """A PreTrainedTokenizerFast of 259 tokens: 3 special ones, then the 256 bytes. Speaks ChatML."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    special = [END_OF_TEXT, START_OF_TURN, END_OF_TURN]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({token: index for index, token in enumerate(special + alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=END_OF_TEXT,
        eos_token=END_OF_TURN,
        additional_special_tokens=[START_OF_TURN],
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_shapes() -> dict[str, tuple[int, ...]]:
    """Name → shape of its weights, without torch; a test compares them with the model's own."""
    return llama_shapes(_VOCABULARY, _LAYERS, _HIDDEN, _INTERMEDIATE, _HEADS, _KEY_VALUE_HEADS)


def tiny_model(seed: int = 0) -> Any:
    """A random LlamaForCausalLM: 2 layers, 90 thousand parameters, fp32, on the CPU, in eval mode.

    The same seed gives the same weights; the global random state is left as it was.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=_HIDDEN,
        intermediate_size=_INTERMEDIATE,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        num_key_value_heads=_KEY_VALUE_HEADS,
        max_position_embeddings=2048,
        initializer_range=0.2,  # large enough that it does not just repeat its last token
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach for the GPUs too
        model = LlamaForCausalLM(config)
    return model.eval()
