"""A SavedModel behind LitServe, the server that `benchmark serve` compares with.

python -m experiments.benchmarks.litserve_server FOLDER PORT
"""

import sys

import litserve

MAX_BATCH_SIZE, BATCH_SECONDS = 64, 0.002


class SavedModelAPI(litserve.LitAPI):
    """Answers `{"instances": [TEXT, ...]}` with `{"predictions": [...]}`, from the signature `serving_default`.

    Args:
        folder: string. The folder of a SavedModel that takes one text.
    """

    def __init__(self, folder, **options):
        super().__init__(**options)
        self.folder = folder

    def setup(self, device):
        import tensorflow as tf

        self.loaded = tf.saved_model.load(self.folder)
        self.signature = self.loaded.signatures["serving_default"]
        (self.name,) = self.signature.structured_input_signature[1]

    def decode_request(self, request, **kwargs):
        return request["instances"]

    def batch(self, inputs):
        return inputs

    def predict(self, requests, **kwargs):
        import tensorflow as tf

        texts = [text for request in requests for text in request]
        outputs = {name: each.numpy() for name, each in self.signature(**{self.name: tf.constant(texts)}).items()}
        rows = [{name: _plain(each[row]) for name, each in outputs.items()} for row in range(len(texts))]
        return [[rows.pop(0) for _ in request] for request in requests]

    def unbatch(self, output):
        return output

    def encode_response(self, output, **kwargs):
        return {"predictions": output}


def _plain(value):
    return value.decode() if isinstance(value, bytes) else value.tolist()


if __name__ == "__main__":
    api = SavedModelAPI(sys.argv[1], max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", timeout=120)
    server.run("127.0.0.1", int(sys.argv[2]), 1, "warning", generate_client_file=False)
