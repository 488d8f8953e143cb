"""ByteTokenizer: text as the bytes of its UTF-8 encoding."""

from collections.abc import Iterable
from typing import Any, Self

import tensorflow as tf

from kerazoo.text.tokenizer import SPECIAL_TOKENS, Tokenizer


class ByteTokenizer(Tokenizer):
    """Tokenizes text into the bytes of its UTF-8 encoding.

    There are 260 ids: byte `b` has the id `b + 4`, after the four special ids. No text is unknown, and every script is
    reproduced exactly. A character outside ASCII takes two to four ids.

    Args:
        case: string. `"lower"` or `"upper"` changes the case of the text first, `None` keeps it. Defaults to `None`.
        normalization: string. `"nfkc"` brings the text into that normal form first, `None` keeps it. Defaults to
            `None`.

    Example:

    ```python
    import kerazoo as kz

    tokenizer = kz.text.ByteTokenizer()
    ids = tokenizer.encode(["Zoo", "né"])  # [[94, 115, 115], [114, 199, 173]]
    print(tokenizer.detokenize(ids))
    ```
    """

    def __init__(self, *, case: str | None = None, normalization: str | None = None):
        token_bytes = ["", *(bytes([value]) for value in range(256))]
        super().__init__((), token_bytes, case=case, normalization=normalization)

    @classmethod
    def fit(
        cls,
        strings: Iterable[str] = (),
        vocabulary_size: int | None = None,
        *,
        case: str | None = None,
        normalization: str | None = None,
    ) -> Self:
        """Returns the tokenizer, which does not depend on `strings` and `vocabulary_size`."""
        return cls(case=case, normalization=normalization)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the tokenizer that `get_config` describes."""
        return cls(case=config["case"], normalization=config.get("normalization"))

    @property
    def vocabulary_size(self) -> int:
        """Number of ids: 256 bytes, 4 special ids and the tags."""
        return len(SPECIAL_TOKENS) + 256 + len(self.tags)

    @staticmethod
    def split(text: str) -> list[int]:
        """Returns the bytes of one string, over which error rates are computed."""
        return list(text.encode())

    def _ids(self, strings):
        joined = tf.io.decode_raw(tf.strings.reduce_join(strings), tf.uint8)  # the bytes of all rows
        ids = tf.cast(joined, tf.int32) + len(SPECIAL_TOKENS)
        return tf.RaggedTensor.from_row_lengths(ids, tf.strings.length(strings), validate=False)
