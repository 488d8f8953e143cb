"""What each token is written as, which is what stop strings are looked for in."""

import pytest

from kerazoo import text

LINES = ["the zoo opens at ten", "the né owl  sleeps"]


@pytest.mark.parametrize("name", text.names())
def test_the_bytes_of_the_tokens_of_a_text_are_the_text(name):
    tokenizer = text.get(name).fit(LINES, 300)
    assert len(tokenizer.token_bytes) == tokenizer.vocabulary_size
    if name != "wordpiece":  # whose vocabulary has its special tokens anywhere, and writes some
        assert tokenizer.token_bytes[:3] == [b"", b"", b""]
    for line in LINES:
        ids = tokenizer.encode([line])
        written = b"".join(tokenizer.token_bytes[i] for i in ids.numpy()[0])
        assert written.decode().strip() == tokenizer.detokenize(ids).numpy()[0].decode()
