"""A trained run as a callable from raw input to answer: the best one, several with their scores, or as it comes."""

import dataclasses
import os

import numpy as np

from kerazoo import _checks, catalog
from kerazoo.run import directory as directories

BLOCK = 4  # tokens that a stream writes in one compiled call


@dataclasses.dataclass(frozen=True)
class Answer:
    """One of several answers to an input.

    Args:
        text: What the task shows for it.
        score: By which the search ranks: the log-probability, over a length divisor for a beam.
        tokens: Its token ids without the prompt, the end token included.
        token_scores: Log-probability of each of them, float32 [T].
        alignment: How much each of them looked at each token of the source, float32 [T, S]; None unless asked for.
    """

    text: object
    score: float
    tokens: list
    token_scores: np.ndarray
    alignment: np.ndarray | None = None


class Answerer:
    """Maps a list of raw inputs to a list of answers: text to text, pixels to labels, whatever the task speaks.

    Args:
        model: A built model of the catalog's kind `kind`.
        task: The task that it was trained on, which encodes inputs and shows predictions.
        batch_size: Most inputs that go through the model at once.

    Call arguments:
        raw: A list of what the task takes: strings, images as arrays `[H, W, C]`, vectors.
        search: A name or object of `kerazoo.decoding`, `"greedy"` by default; only for models that generate.
        max_length: Most tokens of an answer; the task's own bound by default.
        **options: Further arguments of the search, such as `num_beams=4`. Text does where token ids are meant:
            `stop_strings=["."]`, `prefix="The"`, `forbidden="x"`.

    Returns:
        One answer for each input, in the same order: a string, or an array where the task answers with numbers.
    """

    def __init__(self, model, task, batch_size=256):
        self.model = model
        self.task = task
        self.batch_size = batch_size

    def __call__(self, raw, **options):
        raw, options = list(raw), self._in_tokens(options)
        return self._cut(self.task.show(self.predict(raw, **options)), raw, options)

    def predict(self, raw, **options):
        """Returns the model's own output for `raw`: token ids, or logits with one row an input."""
        options = self._in_tokens(options)
        if hasattr(self.model, "generate"):
            return self._in_batches(raw, lambda some, first: list(self._generate(some, first, options).best()))
        return self._in_batches(
            raw, lambda some, _: list(np.asarray(self.model.predict_on_batch(self.task.encode(some))))
        )

    def answers(self, raw, **options) -> list[list[Answer]]:
        """Returns the answers to each input, the best first, with their scores.

        Args:
            raw: As in a call.
            **options: As in a call; `n_best=5` asks for five, `alignment=True` for where they looked.
        """
        if not hasattr(self.model, "generate"):
            raise ValueError(f"{type(self.model).__name__}: does not generate, so it has one answer and no scores.")
        options = self._in_tokens(options)
        return self._in_batches(raw, lambda some, first: self._listed(some, first, options))

    def stream(self, raw, block: int = BLOCK, **options):
        """Yields the answer to one input piece by piece, never half a character.

        Args:
            raw: One input.
            block: Tokens that are written at a time.
            **options: As in a call; the search must be greedy or draw a single sample.
        """
        from kerazoo import decoding

        inputs, options = self.task.encode([raw]), self._in_tokens(options)
        detokenizer = decoding.IncrementalDetokenizer(self.task.show, 1)
        stop, text, sent = options.get("stop_strings"), "", 0
        # As much of the end as may be the beginning of a stop string is held back.
        held = max(map(len, stop.strings)) - 1 if stop else 0
        for news in decoding.stream(self.model, block=block, **inputs, **options):
            text += detokenizer(news)[0]
            ready = self._cut([text], None, options)[0]
            ready = ready if len(ready) < len(text) else text[: max(sent, len(text) - held)]
            yield ready[sent:]
            sent = max(sent, len(ready))
        yield self._cut([text + detokenizer([[]], last=True)[0]], None, options)[0][sent:]

    def score(self, raw, targets, **options):
        """Returns what the model makes of given answers, a `kerazoo.decoding.Scored`.

        Args:
            raw: A list of inputs.
            targets: The text of an answer to each.
            **options: `alignment` and `batch_size` of `kerazoo.decoding.score`.
        """
        from kerazoo import decoding

        inputs = self.task.encode(list(raw))
        if "source" not in inputs:
            raise ValueError("score: needs a model that answers a source; a language model is scored by evaluate.")
        tokenizer = self.task.tokenizers["target"]
        tokens = [[*ids, tokenizer.end_id] for ids in tokenizer.tokenize(list(targets)).to_list()]
        return decoding.score(self.model, inputs["source"], tokens, **options)

    def _in_batches(self, raw, function):
        raw = list(raw)
        # Inputs of like length share a batch, so little of it is padding.
        sized = [len(item) if isinstance(item, str) else 0 for item in raw]
        order = sorted(range(len(raw)), key=sized.__getitem__)
        rows = [None] * len(raw)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            for index, row in zip(chosen, function([raw[i] for i in chosen], start), strict=True):
                rows[index] = row
        return rows

    def _generate(self, raw, first_row, options):
        return self.model.generate(**self.task.encode(raw), **{"first_row": first_row, **options})

    def _listed(self, raw, first_row, options):
        found = self._generate(raw, first_row, options)
        rows = []
        for row, prompt in enumerate(found.prompt_lengths):
            there = [n for n, length in enumerate(found.lengths[row]) if length]
            texts = self.task.show([found.tokens[row, n] for n in there])
            texts = self._cut(texts, [raw[row]] * len(texts), options)
            rows.append([self._answer(found, row, n, prompt, text) for n, text in zip(there, texts)])
        return rows

    @staticmethod
    def _answer(found, row, n, prompt, text):
        some = slice(prompt, found.lengths[row, n])
        return Answer(
            text=text,
            score=float(found.scores[row, n]),
            tokens=found.tokens[row, n, some].tolist(),
            token_scores=found.token_scores[row, n, some],
            alignment=None if found.alignment is None else found.alignment[row, n, some],
        )

    def _in_tokens(self, options):
        """The options of `generate`, with token ids where there was text; none for a model that does not generate.

        Made once for all batches, for the table of pieces is large.
        """
        if not hasattr(self.model, "generate"):
            if options:
                raise ValueError(
                    f"{type(self.model).__name__}: does not generate, so it takes no {', '.join(sorted(options))}."
                )
            return {}
        options = {"max_length": self.task.max_length, **options}
        for name in ("prefix", "allowed", "forbidden"):
            if isinstance(options.get(name), str):
                options[name] = self.task.tokenizers["target"].tokenize([options[name]]).to_list()[0]
        stop = options.get("stop_strings")
        if stop is not None and not hasattr(stop, "cut"):
            from kerazoo import decoding

            options["stop_strings"] = decoding.StopStrings(stop, self.task.tokenizers["target"].token_bytes)
        return options

    def _cut(self, texts, raw, options):
        """The texts up to the stop string; the prompt that a language model repeats does not count."""
        stop = options.get("stop_strings")
        if stop is None:
            return texts
        prompts = raw if raw and self.task.measured_by_loss else [""] * len(texts)
        return [text[: len(p)] + stop.cut(text[len(p) :]) for text, p in zip(texts, prompts)]


def load(run_dir, checkpoint="best", data_dir=None):
    """Returns the `Answerer` of a finished or running training.

    Args:
        run_dir: The run's folder, or a list of them: the models of several runs on the same vocabularies then answer
            together, by the mean of their probabilities.
        checkpoint: `"best"` for the state with the best dev result, `"last"` for the newest.
        data_dir: Where the data lies now, if it moved; answering needs no data.

    Raises:
        CheckpointError: There is no run, or its state is damaged or does not fit the model.
        ValueError: The vocabularies of several runs differ.
    """
    if isinstance(run_dir, list | tuple):
        return _together([load(each, checkpoint, data_dir) for each in run_dir])
    run = directories.RunDirectory(os.fspath(run_dir))
    record = run.record()
    model, task = rebuild(run, record, data_dir)
    from kerazoo.training import checkpoints

    _checks.one_of("kerazoo.load", "checkpoint", checkpoint, ("best", "last"))
    checkpoints.CheckpointStore(run.checkpoints, vocabularies=task.vocabularies).restore(model, which=checkpoint)
    return Answerer(model, task)


def _together(answerers):
    if len(answerers) == 1:
        return answerers[0]
    from kerazoo import decoding

    ensemble = decoding.Ensemble(
        [each.model for each in answerers], vocabulary_hashes=[each.task.digest for each in answerers]
    )
    return Answerer(ensemble, answerers[0].task)


def rebuild(run, record, data_dir=None):
    """Returns the model and the task of `record`, untrained, without touching the data."""
    from kerazoo import tasks

    catalog.import_modules(record.get("import", ()))
    task = tasks.restore(run.task, data_dir=data_dir)
    return build(record["model"], task, record["model_options"]), task


def build(name, task, overrides):
    """Returns the built model `name` with the sizes that `task` dictates and the user's `overrides`."""
    sizes = {key: value for key, value in task.sizes().items() if key in catalog.arguments(name)}
    model = catalog.create(name, **{**sizes, **overrides})
    if not model.built:
        model.build_from_inputs()
    return model
