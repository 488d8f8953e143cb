"""Text as the bytes of its UTF-8."""

import tensorflow as tf

from kerazoo.text.tokenizer import SPECIALS, Tokenizer


class Bytes(Tokenizer):
    """Text as the bytes of its UTF-8: 260 ids, nothing is unknown, exact on every script.

    Byte `b` has the id `b + 4`, after the four special ids. There is nothing to learn from data. A letter outside
    ASCII takes two to four ids.

    Args:
        case: `"lower"` or `"upper"` folds text first; None, the default, leaves it as it is.
        normalization: `"nfkc"` brings text into that normal form before; None, the default, leaves it as it is.

    Example:

    ```python
    import kerazoo as kz

    tokens = kz.text.Bytes()
    ids = tokens.encode(["Zoo", "né"])  # [[94, 115, 115], [114, 199, 173]]
    print(tokens.detokenize(ids))
    ```
    """

    name_in_table = "bytes"

    def __init__(self, case=None, normalization=None):
        super().__init__((), ["", *(bytes([value]) for value in range(256))], case, normalization)

    @classmethod
    def learn(cls, strings=(), size=None, case=None, normalization=None):
        """Returns the tokenizer; there is nothing to learn, the arguments are those of the other tokenizers."""
        return cls(case, normalization)

    @classmethod
    def from_config(cls, config):
        """Returns the tokenizer that `config` describes."""
        return cls(config["case"], config.get("normalization"))

    @property
    def vocabulary_size(self):
        """Number of ids: 256 bytes and 4 special ones."""
        return len(SPECIALS) + 256

    @staticmethod
    def split(text):
        """Returns the tokens of one string, as error rates count them."""
        return list(text.encode())

    def _ids(self, strings):
        joined = tf.io.decode_raw(tf.strings.reduce_join(strings), tf.uint8)  # all rows one behind the other
        ids = tf.cast(joined, tf.int32) + len(SPECIALS)
        return tf.RaggedTensor.from_row_lengths(ids, tf.strings.length(strings), validate=False)
