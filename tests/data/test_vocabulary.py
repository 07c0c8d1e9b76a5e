"""Which terms are proposed as tokens, and what they save."""

from __future__ import annotations

import pytest

from studio.data.templates import Mapping
from studio.data.vocabulary import Term, add_terms, pieces_of, propose, texts_of
from studio.models.tiny import tiny_tokenizer

TEXTS = ["the hydrant and the valve", "a hydrant or the valve", "no hydrant", "Hydrant is a word; hydrants"]


@pytest.fixture
def tokenizer():
    return tiny_tokenizer()


def test_what_saves_most_comes_first(tokenizer):
    found = propose(TEXTS, tokenizer, 2, 2)
    # In the tiny tokenizer each letter is a token; ' the' saves 3 twice, ' valve' 5 twice, ' hydrant' 7 thrice.
    assert found.terms == [Term(" hydrant", 3, 8), Term(" valve", 2, 6)]


def test_the_tokens_saved_are_counted_not_estimated(tokenizer):
    found = propose(TEXTS, tokenizer, 1, 2)
    assert found.tokens_before == sum(map(len, TEXTS))
    add_terms(tokenizer, [" hydrant"])
    assert found.tokens_after == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS)
    assert found.tokens_before - found.tokens_after == 4 * 7  # the beginning of ' hydrants' is one, too


def test_rare_words_are_left_out(tokenizer):
    assert [each.term for each in propose(TEXTS, tokenizer, 10, 3).terms] == [" hydrant"]
    nothing = propose(TEXTS, tokenizer, 10, 4)
    assert (nothing.terms, nothing.tokens_after) == ([], nothing.tokens_before)


def test_what_mostly_begins_longer_words_is_left_out(tokenizer):
    texts = ["a cat sat", "a cat sat", "a category", "a catalogue", "some catalogues"]
    assert " cat" not in [each.term for each in propose(texts, tokenizer, 10, 2).terms]


def test_words_that_are_one_token_already_are_left_out(tokenizer):
    add_terms(tokenizer, [" hydrant"])
    assert [each.term for each in propose(TEXTS, tokenizer, 10, 2).terms] == [" valve", " the"]


@pytest.mark.parametrize("text", ["the naïve hydrant, a  hydrant-like valve.\nhydrant", "große Größe, größe"])
def test_texts_are_read_back_as_they_were_written(tokenizer, text):
    add_terms(tokenizer, [" hydrant", " naïve", " größe", " Größe"])
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_term_that_would_lose_its_space_is_left_out():
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import WordPiece
    from transformers import PreTrainedTokenizerFast

    pieces = {piece: at for at, piece in enumerate(["[UNK]", "x", "val", "##ve", "  val"])}
    words = Tokenizer(WordPiece(pieces, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.decoder = decoders.WordPiece()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    assert propose(["x valve x valve"], tokenizer, 5, 2).terms == []


def test_the_pieces_of_a_term_are_those_it_has_in_a_text(tokenizer):
    assert tokenizer.decode(pieces_of(tokenizer, [" valve"])[0]) == " valve"
    assert pieces_of(tokenizer, []) == []


def test_the_text_of_rows_without_their_template():
    rows = [{"p": "ask", "c": "say"}, {"p": "", "c": ""}]
    assert texts_of(rows, Mapping("prompt_completion", {"prompt": "p", "completion": "c"})) == ["ask", "say"]
    assert texts_of([{"t": "a text"}], Mapping("text", {"text": "t"})) == ["a text"]


def test_progress_reaches_its_end(tokenizer):
    told = []
    propose(TEXTS, tokenizer, 2, 2, lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
