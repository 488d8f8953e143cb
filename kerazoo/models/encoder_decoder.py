"""Any encoder with any decoder."""

import keras
import numpy as np

from kerazoo.decoding import Decodable, Generated, Scored, score
from kerazoo.models.configured import part_of
from kerazoo.models.generative import Writer
from kerazoo.models.source import SourceModel


@keras.saving.register_keras_serializable(package="kerazoo")
class EncoderDecoder(Writer, SourceModel, Decodable):
    """Reads a source with any encoder and writes tokens with any decoder.

    The source may be token ids, vectors, a series or an image: a convolutional encoder with a Transformer decoder
    writes captions, an LSTM with an LSTM is the classic seq2seq.

    Args:
        encoder: A layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, such as `kerazoo.layers.LSTMEncoder`.
        decoder: A layer with `call`, `start`, `step` and the attributes `supports_parallel_decoding` (whether it has
            `step_many`) and `prefers_jit` of `kerazoo.decoding.Decodable`, such as
            `kerazoo.layers.TransformerDecoder`.
        source_embedding: Turns source token ids into vectors; None where the source is vectors or images.
        target_embedding: Turns target token ids into vectors, a `TokenEmbedding`; `"source"` to share that of the
            source; None to make one that fits the decoder, which needs `vocabulary_size`.
        vocabulary_size: Size V of the target vocabulary, that of `target_embedding` by default.
        pad_id: The token that fills up short rows.
        start_id: The token before the first one.
        end_id: The token that ends an answer.
        tie_output: Whether the logits use the table of the target embedding (Press and Wolf, arXiv 1608.05859).
        input_shape: Shape of one source without the batch, where there is no source embedding.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: A dictionary: `"source"`, token ids [B, S] or vectors or images; `"targets"`, token ids [B, T], not
            shifted; and for vectors [B, S, D] where wanted `"source_mask"`, booleans [B, S], True = real. Where pairs
            share rows, `"source_segments"` and `"targets_segments"` count them from 1, integers [B, S] and [B, T],
            0 for padding; then nothing passes from one pair to another.
        training: Whether dropout acts.

    Returns:
        Logits float32 [B, T, V]; those of position t depend on the source and on the targets before t.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.EncoderDecoder(
        encoder=kz.layers.DenseEncoder(units=(16,)),
        decoder=kz.layers.TransformerDecoder(num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=32),
        vocabulary_size=11,
    )
    images, words = np.ones((2, 8, 8, 1), "float32"), np.array([[5, 6, 2], [7, 2, 0]])
    assert model({"source": images, "targets": words}).shape == (2, 3, 11)
    assert model.generate(images, search="beam", width=3, max_length=7).best().shape == (2, 7)
    ```

    Reference:
        Sutskever, Vinyals and Le (2014), Sequence to Sequence Learning with Neural Networks, arXiv 1409.3215.
    """

    has_encoder = True

    def __init__(
        self,
        encoder,
        decoder,
        source_embedding=None,
        target_embedding=None,
        vocabulary_size=None,
        pad_id=0,
        start_id=1,
        end_id=2,
        tie_output=False,
        input_shape=None,
        **kwargs,
    ):
        super().__init__(encoder, source_embedding, input_shape, **kwargs)
        if isinstance(target_embedding, str):
            if target_embedding != "source" or source_embedding is None:
                raise ValueError(
                    f"{type(self).__name__}: `target_embedding` must be a layer, None, or 'source' beside a "
                    f"`source_embedding`; got target_embedding={target_embedding!r}."
                )
            target_embedding = source_embedding
        elif target_embedding is not None and target_embedding is source_embedding:
            # The configuration of a layer makes a new layer: sharing must be said in words.
            vars(self)["_arguments"].update(target_embedding="source")
        self._make_writer(decoder, target_embedding, vocabulary_size, pad_id, start_id, end_id, tie_output)

    def call(self, inputs, training=None):
        return self._teach(inputs, self.encode(inputs, training=training), training)

    def generate(
        self, source, prompt=None, search="greedy", max_length: int | None = None, source_mask=None, **options
    ) -> Generated:
        """Returns what the model writes for each source, see `kerazoo.decoding.generate`.

        Args:
            source: Token ids [B, S], padded or ragged lists; or vectors, or images.
            prompt: First tokens of each answer, or None.
            search: `"greedy"`, `"sample"`, `"beam"` or a search object.
            max_length: Most tokens of an answer.
            source_mask: Booleans [B, S] for vectors [B, S, D], True = real, or None.
            **options: Options of the search by name (`width=4`), and those of `kerazoo.decoding.generate`.
        """
        source = source if source_mask is None else {"source": source, "source_mask": source_mask}
        if not self.built and self.source_pad_id is None:
            self.build(np.shape(part_of(source, "source", "generate")))
        return self._generate(source, prompt, search, max_length, options)

    def score(self, source, targets, source_mask=None, **options) -> Scored:
        """Returns the log-probabilities of given targets, see `kerazoo.decoding.score`.

        Args:
            source: As in `generate`.
            targets: Token ids, ragged lists or an array padded with `pad_id`; with the end token where it counts.
            source_mask: Booleans [B, S] for vectors [B, S, D], True = real, or None.
            **options: `alignment`, `batch_size` and `jit` of `kerazoo.decoding.score`.
        """
        source = source if source_mask is None else {"source": source, "source_mask": source_mask}
        if not self.built and self.source_pad_id is None:
            self.build(np.shape(part_of(source, "source", "score")))
        return score(self, source, targets, **options)

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict:
        """Returns zeros for `"source"` and `"targets"`."""
        source = self._build_source(batch_size, length)
        return {"source": source, "targets": self._build_targets(batch_size, length)}
