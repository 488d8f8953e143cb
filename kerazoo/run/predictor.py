"""A trained run as a function from raw input to prediction: the best one, several with their scores, or a stream."""

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kerazoo import _checks
from kerazoo.run import anomalies, memory

if TYPE_CHECKING:
    import keras

    from kerazoo import decoding
    from kerazoo.tasks import Task

log = logging.getLogger("kerazoo")
BLOCK = 4  # tokens that a stream generates in one compiled call
BEAM_POSITIONS = 1 << 16  # tokens of all hypotheses in one call of a beam search, at most


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One of several predictions for an input.

    Args:
        text: string. The prediction, as the task decodes it: a text, or the name of a class.
        score: float. What the search ranks by: the log-probability, over a length divisor for a beam; the probability
            of a class.
        tokens: list of ints. The token ids without the prompt, `end_id` included. Defaults to `None`: a class.
        token_scores: float32 array `[T]`. The log-probability of each token. Defaults to `None`: a class.
        alignment: float32 array `[T, S]`. The attention of each token to the source. Defaults to `None`: not computed.
    """

    text: Any
    score: float
    tokens: list[int] | None = None
    token_scores: np.ndarray | None = None
    alignment: np.ndarray | None = None


class Predictor:
    """Maps raw inputs to predictions, in the terms of the task: text to text, pixels to labels, series to series.

    Args:
        model: a built model that the task trains; `None` where predictions come from elsewhere.
        task: `kerazoo.tasks.Task`. It encodes the inputs and decodes the outputs.
        batch_size: int. The largest number of inputs in one call of the model. A beam search for long predictions takes
            fewer, since each step copies the keys and values of all hypotheses, and a call ends with its longest one.
            Defaults to `256`.
        dev_errors: `kerazoo.run.DevErrors`. The errors of an autoencoder on dev, by which anomalies are marked.
            Defaults to `None`.

    Call arguments:
        raw: list of raw inputs: strings, images as arrays `[H, W, C]`, windows; for several input columns tuples or
            dicts. A single string or dict is one input.
        search: string or object of `kerazoo.decoding`. Only for models that generate. Defaults to `"greedy"`.
        max_length: int. The largest number of tokens of a prediction, the prompt of a language model included. Defaults
            to that of the longest target of the task's data.
        **options: further arguments of the search, such as `num_beams=4`. Text is accepted in place of token ids:
            `stop_strings=["."]`, `prefix="The"`, `forbidden="x"`.

    Returns:
        list of predictions, one for each input: strings, or arrays and numbers where the task predicts those. Texts
        that are longer than the task's own `max_length` are cut, and a prompt of `max_length` tokens is returned as it
        is; the logger `kerazoo` warns of how many there are.
    """

    def __init__(
        self,
        model: "keras.Model | decoding.Ensemble | None",
        task: "Task",
        batch_size: int = 256,
        dev_errors: anomalies.DevErrors | None = None,
    ):
        self.model: Any = model
        self.task = task
        self.batch_size = _checks.positive_int("Predictor", "batch_size", batch_size)
        self.dev_errors = dev_errors
        self.cut = 0  # inputs so far that were cut to the largest number of tokens of the task

    @property
    def generates(self) -> bool:
        """Whether predictions are generated token by token by a search."""
        return self.task.targets.generated

    def __call__(self, raw: Sequence, **options) -> list:
        raw, options = _listed("raw", raw), self._in_tokens(options)
        return self._cut(self.task.decode(self.outputs(raw, **options)), raw, options)

    predict = __call__

    def outputs(self, raw: Sequence, **options) -> list[np.ndarray]:
        """Returns the outputs of the model for `raw`: token ids, rows of logits, or vectors of numbers one by one."""
        from kerazoo.training import processes

        raw, options, cut = _listed("raw", raw), self._in_tokens(options), self.cut
        # Of several processes each one predicts a part.
        parts = processes.gather((self._outputs(raw[processes.index() :: processes.count()], options), self.cut - cut))
        self.cut = cut + sum(count for _, count in parts)
        return [parts[number % len(parts)][0][number // len(parts)] for number in range(len(raw))]

    def _outputs(self, raw, options):
        """Returns the outputs of the model for a list of raw inputs."""
        from kerazoo import decoding

        rows = {}
        size = self._inputs_at_once(options)
        with _memory_reported(raw, size):
            for numbers, inputs in self._batches(raw, size):
                if self.generates:
                    found, too_long = self._generate(inputs, len(rows), options)
                    outputs = [too_long.get(row, tokens) for row, tokens in enumerate(found.best())]
                elif isinstance(self.model, decoding.ContinuousDecodable):
                    found = self.model.generate(model_arguments(inputs)["source"])
                    outputs = [row[:length] for row, length in zip(found.outputs, found.lengths)]
                else:
                    outputs = np.asarray(self.model.predict_on_batch(inputs))
                if self.task.targets.fills:
                    outputs = np.asarray(self.task.targets.complete(np.asarray(outputs), inputs))
                rows.update(zip(numbers, outputs, strict=True))
        return [rows[number] for number in range(len(raw))]

    def predictions(self, raw: Sequence, **options) -> list[list[Prediction]]:
        """Returns the predictions for each input, the best first, with their scores.

        Those of a classifier are the classes with their probabilities, those of a masked language model the texts with
        their gaps filled and the log-probabilities of the tokens in these.

        Args:
            raw: as in a call.
            **options: as in a call; `n_best=5` returns five, `alignment=True` the attention to the source. A model that
                does not generate takes `n_best` only.

        Raises:
            ValueError: if the model predicts numbers or images, which have no scores.
        """
        if not self.generates:
            n_best = _checks.positive_int("Predictor", "n_best", options.pop("n_best", 1))
            if self.task.targets.fills:
                self._in_tokens(options)  # refuses those of a search
                return self._best_fills(_listed("raw", raw), n_best)
            ranked = self.task.ranked(self.outputs(raw, **options))
            return [[Prediction(*pair) for pair in row[:n_best]] for row in ranked]
        raw, options, rows = _listed("raw", raw), self._in_tokens(options), {}
        size = self._inputs_at_once(options)
        with _memory_reported(raw, size):
            for numbers, inputs in self._batches(raw, size):
                found, too_long = self._generate(inputs, len(rows), options)
                found = self._predictions(found, too_long, [raw[number] for number in numbers], options, inputs)
                rows.update(zip(numbers, found, strict=True))
        return [rows[number] for number in range(len(raw))]

    def _best_fills(self, raw, n_best):
        """Returns the most probable ways to fill the gaps of each text."""
        rows = {}
        with _memory_reported(raw, self.batch_size):
            for numbers, inputs in self._batches(raw, self.batch_size):
                logits = np.asarray(self.model.predict_on_batch(inputs))
                found = self.task.targets.best_fills(logits, inputs, n_best)
                rows.update(zip(numbers, found, strict=True))
        return [[Prediction(*pair) for pair in rows[number]] for number in range(len(raw))]

    def threshold(self, quantile: float | None = None) -> float | None:
        """Returns the error above which an example is an anomaly, the quantile of the errors of the dev examples.

        It is `None` for a model that is no autoencoder, was trained without dev examples, or whose checkpoint is not
        the best one.

        Args:
            quantile: float in [0, 1]. Defaults to `None`: 0.99.

        Raises:
            ValueError: if a quantile is given and there are no errors of dev examples.
        """
        if self.dev_errors is None and quantile is not None:
            rule = f"is for autoencoders, and this model is of kind {self.task.kind}"
            if self.task.is_autoencoder:
                rule = "is for the best checkpoint of a run that was trained with dev examples"
            raise ValueError(f"threshold: `quantile` {rule}; got quantile={quantile}. Leave it out.")
        return None if self.dev_errors is None else self.dev_errors.threshold(quantile)

    def reconstructions(self, raw: Sequence, quantile: float | None = None) -> list[anomalies.Reconstruction]:
        """Returns the reconstruction of each input by an autoencoder, its error, and whether it is an anomaly.

        Args:
            raw: as in a call.
            quantile: float in [0, 1]. The quantile of the errors of the dev examples above which an input is
                an anomaly. Defaults to `None`: 0.99.

        Raises:
            ValueError: if the model is no autoencoder, or a quantile is given and there is no threshold.
        """
        if not self.task.is_autoencoder:
            raise ValueError(
                f"reconstructions: needs an autoencoder; got {type(self.model).__name__}, which predicts "
                f"{self.task.targets.modality}."
            )
        raw, threshold = _listed("raw", raw), self.threshold(quantile)
        values = self(raw)
        return [
            anomalies.Reconstruction(value, float(error), None if threshold is None else bool(error > threshold))
            for value, error in zip(values, anomalies.errors(self.task, raw, values))
        ]

    def sample(self, num_samples: int, **options) -> list:
        """Returns new examples from nothing, of a language model or of a variational autoencoder.

        Args:
            num_samples: int. How many.
            **options: as in a call, for a language model; the search is `"sample"` unless another one is given. Only
                `seed` for an autoencoder.

        Raises:
            ValueError: if predictions of the model need an input.
        """
        from kerazoo import models

        _checks.positive_int("Predictor", "num_samples", num_samples)
        if self.generates and self.task.is_language_model:
            options, rows = self._in_tokens({"search": "sample", **options}), []
            while len(rows) < num_samples:
                prompt = np.zeros((min(self.batch_size, num_samples - len(rows)), 0), "int32")
                rows += list(self.model.generate(prompt, **{"first_row": len(rows), **options}).best())
            return self._cut(self.task.decode(rows), None, options)
        if not isinstance(self.model, models.VariationalAutoencoder):
            raise ValueError(
                f"sample: needs a language model or a variational autoencoder; got {type(self.model).__name__}, whose "
                "predictions need an input."
            )
        return self.task.decode(np.asarray(self.model.sample(num_samples, **options)))

    def stream(self, raw: Any, block: int = BLOCK, **options) -> Iterator[str]:
        """Yields the prediction for one input piece by piece, never half a character.

        Args:
            raw: one raw input.
            block: int. The tokens that are generated at a time. Defaults to `4`.
            **options: as in a call; the search must be greedy or sample once.

        Raises:
            ValueError: if the prediction is not text.
        """
        from kerazoo import decoding

        if self.task.targets.modality != "text":
            raise ValueError(
                f"stream: needs a model that generates text; this one predicts {self.task.targets.modality}."
            )
        if self.task.targets.fills:  # gaps anywhere in the text
            yield from self([raw], **options)
            return
        inputs, options = model_arguments(self._encode([raw])), self._in_tokens(options)
        detokenizer = decoding.IncrementalDetokenizer(self.task.decode, 1)
        stop, text, sent = options.get("stop_strings"), "", 0
        # The end of the text that may be the beginning of a stop string is held back.
        held = max(map(len, stop.strings)) - 1 if stop else 0
        for tokens in decoding.stream(self.model, block=block, **inputs, **options):
            text += detokenizer(tokens)[0]
            ready = self._cut([text], None, options)[0]
            ready = ready if len(ready) < len(text) else text[: max(sent, len(text) - held)]
            yield ready[sent:]
            sent = max(sent, len(ready))
        yield self._cut([text + detokenizer([[]], last=True)[0]], None, options)[0][sent:]

    def embed(self, raw: Sequence, side: str = "source") -> np.ndarray:
        """Returns a vector for each raw input, to compare and to search them or for another model.

        The vectors of a dual encoder have length one, so their dot product is the cosine. Those of other models are
        their encoded source, pooled as the model does it, else as the mean of the positions.

        Args:
            raw: list of raw inputs as in a call; for a dual encoder of single texts.
            side: string. `"source"` or `"target"`: whose encoder reads the texts, where a dual encoder has two.
                Defaults to `"source"`.

        Returns:
            float32 array `[N, D]`, one row for each input.

        Raises:
            ValueError: if the model has no encoder.
        """
        from kerazoo.run import embeddings

        return embeddings.embed(self, _listed("raw", raw), side)

    def features(self, raw: Sequence, layers: str | Sequence[str], pooling: str = "mean") -> dict[str, Any]:
        """Returns the outputs of layers inside the model for each raw input, by the path of each layer.

        `kerazoo.transfer.layers(model)` has the paths. A decoder reads its text itself in a language model, where the
        output of a position has read the tokens up to it, and else what it generates for the input. For more inputs
        than memory holds see `kerazoo.run.write_features`.

        Args:
            raw: list of raw inputs as in a call.
            layers: string or list of strings. Paths, names or patterns of layers, such as `"encoder.block_3"` or
                `"encoder.block_*"`.
            pooling: string. How the positions of an output become one vector: `"mean"`, `"max"`, `"last"` or `"first"`
                of the valid ones, or `"none"`. Defaults to `"mean"`.

        Returns:
            A dict of path to float32 array `[N, D]`; with `pooling="none"` to a list of arrays `[positions, D]`.

        Raises:
            ValueError: if a pattern matches no layer; the message offers the nearest.
        """
        from kerazoo.run import layer_features

        return layer_features.features(self, _listed("raw", raw), layers, pooling)

    def score(self, raw: Sequence, targets: Sequence, **options) -> "decoding.Scored":
        """Returns the scores of given targets, a `kerazoo.decoding.Scored`.

        Args:
            raw: list of raw inputs.
            targets: list of raw targets, such as strings. What is scored for each input.
            **options: `alignment` and `batch_size` of `kerazoo.decoding.score`.

        Raises:
            ValueError: if the model has no input to score a target for.
        """
        from kerazoo import decoding

        if not self.generates or self.task.is_language_model:
            raise ValueError(
                "score: needs a model that generates tokens for an input; a language model is scored by evaluate."
            )
        if self.task.targets.fills:
            raise ValueError(f"{self.task.owner}: a text with gaps has no targets that could be scored.")
        raw, targets = _listed("raw", raw), _listed("targets", targets)
        if len(raw) != len(targets):
            raise ValueError(f"score: needs a target for each input; got {len(raw)} inputs, {len(targets)} targets.")
        tokens = self.task.targets.target_tokens(targets)
        rows = [tokens[row].tolist() for row in range(len(tokens))]
        return decoding.score(self.model, model_arguments(self._encode(raw))["source"], rows, **options)

    def _inputs_at_once(self, options):
        """Returns the largest number of inputs in one call."""
        from kerazoo import decoding

        search = options.get("search")
        default = decoding.Beam.num_beams if search == "beam" else getattr(search, "num_beams", 1)
        beams = options.get("num_beams") or default
        length = options.get("max_length")
        if not (isinstance(beams, int) and isinstance(length, int)) or beams < 2 or length < 1:
            return self.batch_size  # the search refuses what is wrong
        return max(1, min(self.batch_size, BEAM_POSITIONS // (beams * length)))

    def _batches(self, raw, size):
        """Yields the numbers of the raw inputs of each batch, and their encoded inputs; warns of those that were cut.

        Inputs of similar length share a batch, so little of it is padding.
        """
        cut = self.cut
        for numbers in by_length(raw, size):
            yield numbers, self._encode([raw[number] for number in numbers])
        if self.cut > cut:
            log.warning(
                f"{self.cut - cut:,} of {len(raw):,} inputs were cut: they have more tokens than `max_length` of the "
                f"{self.task.owner}, which the model was trained with."
            )

    def _encode(self, raw):
        """Returns the inputs of the model for raw inputs, and counts those that are cut."""
        inputs = self.task.encode(raw)
        self.cut += self.task.count_cut(raw, inputs)
        return inputs

    def _generate(self, inputs, first_row, options):
        """Returns what is generated for encoded inputs, and the prompts that leave no room for a token by row."""
        too_long = {}
        if self.task.is_language_model:
            prompts, max_length = inputs["prompt"], options["max_length"]
            lengths = ((prompts != self.model.pad_id) * np.arange(1, prompts.shape[1] + 1)).max(axis=1, initial=0)
            too_long = {row: prompts[row, : lengths[row]] for row in np.flatnonzero(lengths >= max_length).tolist()}
            inputs = {"prompt": prompts[:, : max_length - 1]}
        if too_long:
            log.warning(
                f"{len(too_long):,} prompts have max_length={max_length} tokens or more: nothing is generated for them."
            )
        return self.model.generate(**model_arguments(inputs), **{"first_row": first_row, **options}), too_long

    def _predictions(self, found, too_long, raw, options, inputs):
        """Returns the `Prediction`s for each input; a prompt that is too long has one without tokens."""
        pairs = np.argwhere(found.lengths).tolist()  # row and rank of each prediction
        tokens = np.array([found.tokens[row, n] for row, n in pairs])
        if self.task.targets.fills:
            of_rows = {name: np.asarray(value)[[row for row, _ in pairs]] for name, value in inputs.items()}
            tokens = np.asarray(self.task.targets.complete(tokens, of_rows))
        texts = self.task.decode(tokens)
        texts = self._cut(texts, [raw[row] for row, _ in pairs], options)
        rows: list[list[Prediction]] = [[] for _ in raw]
        for (row, n), text in zip(pairs, texts):
            rows[row].append(_prediction(found, row, n, found.prompt_lengths[row], text))
        for row, prompt in too_long.items():
            rows[row] = [Prediction(self.task.decode([prompt])[0], 0.0, [], np.zeros(0, np.float32))]
        return rows

    def _in_tokens(self, options):
        """The options of `generate`, with token ids in place of text; none for a model that does not generate."""
        if not self.generates:
            if options:
                raise ValueError(
                    f"{type(self.model).__name__}: does not generate, so it takes no {', '.join(sorted(options))}."
                )
            return {}
        return self.task.targets.search_options({"max_length": self.task.max_length, **options})

    def _cut(self, texts, raw, options):
        """The texts up to the stop string; the prompt that a language model repeats is skipped."""
        stop = options.get("stop_strings")
        if stop is None:
            return texts
        repeats = self.task.is_language_model and self.task.targets.repeats_prompt
        prompts = raw if raw and repeats else [""] * len(texts)
        return [text[: len(p)] + stop.cut(text[len(p) :]) for text, p in zip(texts, prompts)]


def future_table(predictor: Predictor, path: str | os.PathLike) -> list[list[str]]:
    """Returns the forecast for a file of a series as a table of text, with its dates continued.

    Args:
        predictor: `Predictor` of a run of the task `forecast`.
        path: string or path. A file with the columns of the training data; its last rows are the window.

    Raises:
        DataError: if the file cannot be read or has fewer rows than a window.
    """
    (window,) = predictor.task.read([os.fspath(path)])
    (feature,) = predictor.task.inputs
    dates = cast(Any, feature).read_rows(path).dates
    return cast(Any, predictor.task.targets).table(predictor.outputs([window])[0], dates)


def _listed(name, values):
    """Returns a list of inputs: a string, or a dict of columns, is one."""
    if isinstance(values, str | Mapping):
        return [values]
    if isinstance(values, bytes) or not isinstance(values, Iterable):
        raise TypeError(f"Predictor: `{name}` must be a list of inputs, or one string; got {values!r}.")
    return list(values)


def input_length(raw: Any) -> int:
    """Returns the length of a raw text or sound, of a tuple that of its longest one; 0 for others."""
    if isinstance(raw, tuple):
        return max(map(input_length, raw), default=0)
    return len(raw) if isinstance(raw, str | np.ndarray) and np.ndim(raw) < 2 else 0


def by_length(raw: Sequence, size: int) -> list[list[int]]:
    """Returns the numbers of raw inputs from the shortest to the longest, in lists of at most `size`."""
    lengths = [input_length(item) for item in raw]
    order = sorted(range(len(raw)), key=lengths.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]


def _memory_reported(raw, size):
    return memory.reported(f"Predictor with {min(len(raw), size)} inputs at a time", "Set a smaller `batch_size`.")


def model_arguments(inputs: Mapping) -> Mapping:
    """Returns the arguments of `generate` for encoded inputs: a prompt, a source, or a dict of several sources."""
    return inputs if len(inputs) == 1 else {"source": inputs}


def _prediction(found, row, n, prompt, text):
    part = slice(prompt, found.lengths[row, n])
    return Prediction(
        text=text,
        score=float(found.scores[row, n]),
        tokens=found.tokens[row, n, part].tolist(),
        token_scores=found.token_scores[row, n, part],
        alignment=None if found.alignment is None else found.alignment[row, n, part],
    )
