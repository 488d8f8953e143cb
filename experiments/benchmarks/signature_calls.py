"""The loop over the signature of a SavedModel, in a process with TensorFlow alone: its times for rows of texts.

python -m experiments.benchmarks.signature_calls signature FOLDER
"""

import json
import sys

from experiments.benchmarks.timing import timed
from experiments.benchmarks.workers import serve


def _caller(folder):
    """Returns a function from a list of texts, as JSON, to the seconds that the signature takes for them."""
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def seconds(line, loaded=loaded):
        texts = json.loads(line)
        return timed(lambda: [value.numpy() for value in signature(**{name: tf.constant(texts)}).values()])

    return seconds


if __name__ == "__main__":
    serve(lambda: _caller(sys.argv[2]))
