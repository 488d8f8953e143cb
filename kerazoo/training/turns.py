"""What stands in the place of a model's train or test function: one call is one turn of many steps.

Keras calls the function with an iterator (on JAX with the model's state before it) and looks only at what it returns.
A turn is armed by the list of callbacks just before that call; a call that was not armed comes from elsewhere, say from
a callback that evaluates the model on data of its own, and gets the function that Keras itself makes.
"""

import itertools


class _Turns:
    """Replaces `model.train_function` or `model.test_function` while `replaced` is open.

    Args:
        model: The Keras model.
        kind: `"train"` or `"test"`.
    """

    def __init__(self, model, kind):
        self.model = model
        self.kind = kind
        self.armed = False
        self._plain = None

    def __call__(self, *arguments):
        if not self.armed:
            return self.plain(*arguments)
        self.armed = False
        return self.take(*arguments[:-1])

    def __enter__(self):
        self._before = getattr(self.model, f"{self.kind}_function")
        setattr(self.model, f"{self.kind}_function", self)
        return self

    def __exit__(self, *exception):
        setattr(self.model, f"{self.kind}_function", self._before)

    def arm(self):
        """Says that the next call is a turn."""
        self.armed = True

    @property
    def plain(self):
        """The function that Keras makes for the model."""
        if self._plain is None:
            name = f"{self.kind}_function"
            setattr(self.model, name, None)
            getattr(self.model, f"make_{name}")()
            self._plain = getattr(self.model, name)
            setattr(self.model, name, self)
        return self._plain


class ProgramTurns(_Turns):
    """Turns that run a block of steps in one compiled program.

    Args:
        model: The Keras model.
        kind: `"train"` or `"test"`.
        blocks: A `Blocks`.
        programs: A `Programs` of the backend.
    """

    def __init__(self, model, kind, blocks, programs):
        super().__init__(model, kind)
        self.blocks = blocks
        self.programs = programs

    def begin(self, epoch, position=0):
        """Goes to step `position` of epoch number `epoch`."""
        self.blocks.begin(epoch, position)

    def take(self, *state):
        """Runs the next block."""
        block = self.blocks.next()
        return self.programs(*state, block, self.blocks.capacity(block.shape_index))

    def done(self):
        """Notes that the results of the last turn have arrived."""
        self.blocks.done()

    @property
    def finished(self):
        """Whether the epoch has no further step."""
        return self.blocks.finished

    @property
    def position(self):
        """Steps of this epoch that were taken."""
        return self.blocks.position

    @property
    def progress(self):
        """What callbacks find in their `params`: steps, examples and tokens so far."""
        return {"step": self.blocks.step, "examples": self.blocks.examples, "tokens": self.blocks.tokens}

    @property
    def compiling(self):
        """Seconds of the turns that compiled a program."""
        return self.blocks.compiling


class StreamTurns(_Turns):
    """Turns that run Keras' own function on the batches of an iterable, `steps_per_execution` of them in a call.

    Args:
        model: The Keras model.
        kind: `"train"` or `"test"`.
        source: An iterable of batches, or a function from the number of an epoch to one.
        step: The number of steps that were taken before.
    """

    def __init__(self, model, kind, source, step=0):
        super().__init__(model, kind)
        self.source = source
        self.step = step
        self.position = 0
        self.finished = False

    def begin(self, epoch, position=0):
        """Goes to step `position` of epoch number `epoch`."""
        batches = self.source(epoch) if callable(self.source) else self.source
        if hasattr(batches, "as_numpy_iterator"):
            batches = batches.skip(position) if position else batches
            self._iterator = batches.as_numpy_iterator() if self._needs_arrays else iter(batches)
        else:
            self._iterator = itertools.islice(iter(batches), position, None)
        self.position = position
        # The graph that Keras makes for a tf.data iterator runs several steps and meets the end of the data itself.
        # Any other iterator is read one batch ahead, to know which is the last.
        self._native = hasattr(self._iterator, "element_spec")
        self._ahead = None if self._native else next(self._iterator, None)
        self.finished = not self._native and self._ahead is None

    def take(self, *state):
        """Runs the next batches."""
        if self._native:
            result = self.plain(*state, self._iterator)
            self._advance(self.model.steps_per_execution)
            return result
        batches = [self._ahead, *itertools.islice(self._iterator, self.model.steps_per_execution - 1)]
        self._ahead = next(self._iterator, None)
        self.finished = self._ahead is None
        result = self.plain(*state, iter(batches))
        self._advance(len(batches))
        return result

    def done(self):
        """Notes that the results of the last turn have arrived."""

    @property
    def progress(self):
        """What callbacks find in their `params`: the steps so far."""
        return {"step": self.step}

    compiling = 0.0

    @property
    def _needs_arrays(self):
        return not hasattr(self.model, "distribute_strategy")

    def _advance(self, steps):
        self.position += steps
        self.step += steps
