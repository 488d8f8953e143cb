"""Serve exported models over HTTP, in the form of TensorFlow Serving, with a page to try them on.

  python -m experiments.serve --model=SAVED                        # http://127.0.0.1:8501
  python -m experiments.serve --model=SAVED --model=spelling=OTHER --port=8502
  curl -d '{"instances": ["kerazoo"]}' http://127.0.0.1:8501/v1/models/SAVED:predict

A folder is a SavedModel that `experiments.export` wrote, or has several as subfolders that are named by numbers, its
versions; a newer one that appears takes over while the server runs. The name of a model is that of its folder, or what
stands before `=`. SIGTERM and Ctrl+C let accepted requests finish.
"""

import os

from absl import flags

import kerazoo as kz
from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS
DEFAULTS = kz.serve.ServingOptions()

shared.define_verbose()
with command.flag_group("Models"):
    flags.DEFINE_multi_string("model", [], "Folder of a SavedModel or of its versions, as FOLDER or NAME=FOLDER; "
                              "may be repeated.")  # fmt: skip
    flags.DEFINE_float("poll_seconds", DEFAULTS.poll_seconds, "Seconds between two looks for new versions.")
with command.flag_group("Address"):
    flags.DEFINE_string("host", DEFAULTS.host, "Address to listen on; 0.0.0.0 is reached from other machines.")
    flags.DEFINE_integer("port", DEFAULTS.port, "Port to listen on; 0 for a free one.")
with command.flag_group("Batches"):
    flags.DEFINE_integer("max_batch_size", DEFAULTS.max_batch_size, "Maximum number of rows of a batch and a request.")
    flags.DEFINE_float("max_delay", DEFAULTS.max_delay, "Maximum number of seconds that a batch waits for as many rows "
                       "as the last one had; 0 for no waiting.")  # fmt: skip
    flags.DEFINE_integer("num_batch_threads", DEFAULTS.num_batch_threads, "Batches of a model at the same time.")
with command.flag_group("Limits"):
    flags.DEFINE_integer("max_queue", DEFAULTS.max_queue, "Maximum number of rows that wait for a model; more get 429.")
    flags.DEFINE_float("timeout", DEFAULTS.timeout, "Seconds after which a request gets 504.")
    flags.DEFINE_integer("max_text_length", DEFAULTS.max_text_length, "Maximum number of characters of a text.")
    flags.DEFINE_integer("max_body_bytes", DEFAULTS.max_body_bytes, "Maximum number of bytes of a request.")
OPTIONS = ("host", "port", "max_batch_size", "max_delay", "max_queue", "num_batch_threads", "timeout",
           "max_text_length", "max_body_bytes", "poll_seconds")  # fmt: skip


def main(arguments):
    """Serves until a signal comes."""
    del arguments
    if not FLAGS.model:
        raise command.UsageError("--model=FOLDER is required, a folder that `python -m experiments.export` wrote.")
    # Without it TensorFlow imports Keras, some 100 MB that a server does not need.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    options = kz.serve.ServingOptions(**{name: FLAGS[name].value for name in OPTIONS})
    server = kz.serve.ModelServer(_folders(), options, command.log)
    server.run(lambda: print(f"{', '.join(server.models)} on {server.url} - Ctrl+C stops.", flush=True))
    print("Stopped; the accepted requests are finished.")


def _folders():
    """Returns the folders by the names of their models."""
    pairs = [_named(value) for value in FLAGS.model]
    if len(dict(pairs)) < len(pairs):
        raise command.UsageError(f"--model: two folders have one name; got {FLAGS.model}. Give one as NAME=FOLDER.")
    return dict(pairs)


def _named(value):
    name, equals, folder = value.partition("=")
    if equals and not os.path.isdir(value):
        return name, folder
    return os.path.basename(os.path.abspath(value)), value


if __name__ == "__main__":
    command.run(main, __doc__)
