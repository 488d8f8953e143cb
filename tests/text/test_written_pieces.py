"""What each token is written as, which is what stop strings are looked for in."""

import pytest

from kerazoo import text

LINES = ["the zoo opens at ten", "the né owl  sleeps"]


@pytest.mark.parametrize("name", text.names())
def test_pieces_of_a_text_are_the_text(name):
    tokenizer = text.get(name).learn(LINES, size=300)
    assert len(tokenizer.pieces) == tokenizer.vocabulary_size and tokenizer.pieces[:3] == [b"", b"", b""]
    for line in LINES:
        ids = tokenizer.encode([line])
        written = b"".join(tokenizer.pieces[i] for i in ids.numpy()[0])
        assert written.decode().strip() == tokenizer.detokenize(ids).numpy()[0].decode()
