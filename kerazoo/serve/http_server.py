"""A server of SavedModels over HTTP."""

import contextlib
import errno
import math
import os
import pathlib
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from kerazoo import _checks
from kerazoo.serve.serving_options import ServingOptions

GRACE_SECONDS = 5  # after the time limit of requests, for clients that do not read their responses
NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)


class ModelServer:
    """Serves SavedModels over HTTP as TensorFlow Serving does, with a page to try them on.

    The folder of a model is a SavedModel, its version 1, or has one in each of its subfolders that are named by a
    number. The newest version that can be loaded serves; a newer one that appears while the server runs takes over
    between two requests.

    Args:
        models: mapping from names to folders, or list of folders, whose names the models have.
        options: `ServingOptions`. Defaults to `None`: the defaults of all.
        print_fn: callable of a string, to which loaded versions and faults are reported. Defaults to `print`.

    Raises:
        ValueError: if there is no model, or two of the same name.
        SetupError: if the port is taken, or a package of the extra `serve` is not installed.
        CheckpointError: if a model cannot be loaded.

    Example:

    ```python
    import json
    import threading
    import urllib.request
    import kerazoo as kz
    import tensorflow as tf

    class Doubled(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return {"y": 2 * x}

    model = Doubled()
    tf.saved_model.save(model, "doubled", signatures=model.serve)
    server = kz.serve.ModelServer(["doubled"], kz.serve.ServingOptions(port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    server.wait_until_ready()
    body = json.dumps({"instances": [1.0, 2.5]}).encode()
    with urllib.request.urlopen(server.url + "/v1/models/doubled:predict", body) as response:
        print(json.load(response))  # {'predictions': [2.0, 5.0]}
    server.stop()
    thread.join()
    ```
    """

    def __init__(
        self,
        models: Mapping[str, str | os.PathLike] | Iterable[str | os.PathLike],
        options: ServingOptions | None = None,
        print_fn: Callable[[str], object] = print,
    ):
        _require_packages()
        import uvicorn

        from kerazoo.serve.application import create_application
        from kerazoo.serve.model_versions import ModelVersions
        from kerazoo.serve.prometheus_metrics import ServingMetrics

        self.options = options or ServingOptions()
        folders = _named(models)
        self._socket = _bound(self.options.host, self.options.port)
        self.port = self._socket.getsockname()[1]
        try:
            metrics = ServingMetrics(folders)
            self.models = {
                name: ModelVersions(name, folder, self.options, metrics.batch_counter(name), print_fn)
                for name, folder in folders.items()
            }
        except BaseException:
            self._socket.close()
            raise
        application = create_application(self.models, self.options, metrics, print_fn)
        config = uvicorn.Config(
            application,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=math.ceil(self.options.timeout) + GRACE_SECONDS,
        )
        self._ready, self._ended = threading.Event(), threading.Event()
        self._server = _server_class(uvicorn.Server)(config)

    @property
    def url(self) -> str:
        """The address of the page."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self.port}"

    def run(self, on_ready: Callable[[], object] | None = None) -> None:
        """Serves until `stop` is called or, in the main thread, SIGTERM or SIGINT comes; accepted requests finish.

        Args:
            on_ready: callable, which is called once the server listens. Defaults to `None`.
        """

        def ready():
            self._ready.set()
            if on_ready is not None:
                on_ready()

        self._server.on_ready = ready
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Lets `run` finish the accepted requests and return; may be called from any thread."""
        self._server.should_exit = True

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Waits until `run`, in another thread, listens.

        Args:
            timeout: float. The seconds to wait. Defaults to `60.0`.

        Raises:
            SetupError: if it does not in that time.
        """
        end = time.monotonic() + timeout
        while not self._ready.wait(0.05):
            if self._ended.is_set() or time.monotonic() > end:
                raise _checks.SetupError(f"ModelServer: does not listen on {self.url}.")


def _named(models):
    """Returns the folders of the models by their names, checked."""
    if isinstance(models, Mapping):
        pairs = [(name, pathlib.Path(folder)) for name, folder in models.items()]
    else:
        folders = [pathlib.Path(os.path.abspath(folder)) for folder in models]
        pairs = [(folder.name, folder) for folder in folders]
    if not pairs:
        raise ValueError("ModelServer: `model` must have at least one folder; got none.")
    for name, folder in pairs:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"ModelServer: the name of a `model` must have letters, digits and _ . + - alone; got {name!r} of "
                f"{folder}. Give it another one, as in NAME={folder}."
            )
    twice = [name for name, _ in pairs if [each for each, _ in pairs].count(name) > 1]
    if twice:
        raise ValueError(f"ModelServer: the name of a `model` must be there once; got {twice[0]} for two folders.")
    return dict(pairs)


def _bound(host, port):
    """Returns a socket that has the address and does not listen yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:  # the second for what is no host name
        number = getattr(error, "errno", None)
        advice = " Choose another `port`." if number in (errno.EADDRINUSE, errno.EACCES) else ""
        reason = getattr(error, "strerror", None) or error
        raise _checks.SetupError(
            f"ModelServer: cannot listen on `host` {host!r}, port {port}: {reason}.{advice}"
        ) from error
    return bound


def _server_class(base):
    """Returns a class of uvicorn servers that call `on_ready` when they listen, and return after a signal.

    uvicorn's own raises the signal once more after the orderly end.
    """

    class Server(base):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            if self.started:
                self.on_ready()

        @contextlib.contextmanager
        def capture_signals(self):
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            signals = (signal.SIGINT, signal.SIGTERM)
            before = {each: signal.signal(each, self.handle_exit) for each in signals}
            try:
                yield
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)

    return Server


def _require_packages():
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise _checks.SetupError(
            f'Serving needs the package {error.name}. Install it with: pip install "kerazoo[serve]"'
        ) from error
