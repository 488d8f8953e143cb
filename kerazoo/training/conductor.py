"""The list of callbacks of a fit whose turns run many steps."""

import keras


class Conductor(keras.callbacks.CallbackList):
    """Keras' list of callbacks, which also arms each turn, counts its real steps and ends an epoch with its data.

    Callbacks see the numbers of real steps: `on_train_batch_begin(first)`, `on_train_batch_end(last)`, and find in
    their `params` beside `epochs` and `steps` what was reached: `step` (of all epochs), `examples` and `tokens` (of
    this fit), `epoch` and `position` (steps of this epoch), `compiling` (seconds of calls that compiled), and
    `history` (the logs of the epochs before a resumed fit).

    Args:
        callbacks: List of Keras callbacks.
        train: The turns of training, or None.
        test: The turns of validation, or None where Keras runs it by itself.
        begin: Pair of the epoch and the step within it where training starts.
        **options: Further arguments of `keras.callbacks.CallbackList`.
    """

    def __init__(self, callbacks, train=None, test=None, begin=(0, 0), **options):
        self.train = train
        self.test = test
        self.start = begin
        self.ended = False
        super().__init__(callbacks, **options)
        self._report(epoch=begin[0], position=begin[1])

    def on_epoch_begin(self, epoch, logs=None):
        """Goes to the data of the epoch."""
        position = self.start[1] if epoch == self.start[0] else 0
        self.train.begin(epoch, position)
        self._report(epoch=epoch, position=position)
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        """Says that the next epoch comes."""
        self._report(epoch=epoch + 1, position=0)
        super().on_epoch_end(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        """Arms the turn."""
        self.train.arm()
        super().on_train_batch_begin(self.train.position, logs)

    def on_train_batch_end(self, batch, logs=None):
        """Counts the steps of the turn; after the last of the epoch it ends the loop of Keras."""
        logs = _numbers(logs)  # waits until the device is done
        self.train.done()
        self._report(position=self.train.position)
        super().on_train_batch_end(self.train.position - 1, logs)
        if self.train.finished:
            raise StopIteration

    def on_test_begin(self, logs=None):
        """Goes to the data of the validation."""
        if self.test is not None:
            self.test.begin(0)
        super().on_test_begin(logs)

    def on_test_batch_begin(self, batch, logs=None):
        """Arms the turn."""
        if self.test is not None:
            self.test.arm()
            batch = self.test.position
        super().on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        """Counts the steps of the turn; after the last it ends the loop of Keras."""
        if self.test is None:
            return super().on_test_batch_end(batch, logs)
        logs = _numbers(logs)
        self.test.done()
        self._report()
        super().on_test_batch_end(self.test.position - 1, logs)
        if self.test.finished:
            raise StopIteration

    def _report(self, **values):
        # One dictionary is shared by all callbacks.
        self.params.update(values)
        if self.train is not None:
            self.params.update(self.train.progress)
        self.params["compiling"] = sum(turns.compiling for turns in (self.train, self.test) if turns is not None)


def _numbers(logs):
    return {name: float(value) for name, value in logs.items()}
