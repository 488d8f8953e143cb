"""The paths of a server of models: TensorFlow Serving's REST interface, streams, health, metrics and the page."""

import asyncio
import contextlib
import ipaddress
import pathlib
import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from kerazoo.serve import event_stream, rest_format
from kerazoo.serve.model_versions import ModelVersions
from kerazoo.serve.prometheus_metrics import ServingMetrics
from kerazoo.serve.request_error import RequestError
from kerazoo.serve.servable import DEFAULT_SIGNATURE
from kerazoo.serve.serving_options import ServingOptions

PAGE = pathlib.Path(__file__).parent / "page"
# As in TensorFlow Serving; labels of versions are configured there, and there are none here.
POST_PATH = re.compile(r"([^/:]+)(?:/versions/(\d{1,18}))?:(\w+)")
GET_PATH = re.compile(r"([^/:]+)(?:/versions/(\d{1,18}))?(/metadata)?")
METHODS = ("predict", "stream")
MAX_DISCARDED = 8  # times the largest body that are read so that a client gets to the reason of a refusal
# The page loads nothing from elsewhere and runs no script but its own.
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def create_application(
    models: Mapping[str, ModelVersions],
    options: ServingOptions,
    metrics: ServingMetrics,
    print_fn: Callable[[str], object] = print,
) -> Any:
    """Returns the ASGI application of a server.

    Args:
        models: mapping from names to `ModelVersions`.
        options: `ServingOptions`.
        metrics: `ServingMetrics`.
        print_fn: callable of a string, to which faults of the server are reported. Defaults to `print`.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route
    from starlette.staticfiles import StaticFiles

    handlers = _Handlers(models, options, metrics, print_fn)
    pages = StaticFiles(directory=PAGE, html=True)

    async def page(request):
        response = await pages.get_response(request.path_params.get("name") or "index.html", request.scope)
        response.headers.update(PAGE_HEADERS)
        return response

    routes = [
        Route("/v1/models", handlers.list_models, methods=["GET"]),
        Route("/v1/models/{path:path}", handlers.get, methods=["GET"]),
        Route("/v1/models/{path:path}", handlers.post, methods=["POST"]),
        Route("/healthz", handlers.health, methods=["GET"]),
        Route("/metrics", handlers.metrics_page, methods=["GET"]),
        Route("/", page, methods=["GET"]),
        Route("/{name}", page, methods=["GET"]),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(application):
        del application
        for model in models.values():
            model.start()
        watching = asyncio.create_task(_watch(models, options.poll_seconds, print_fn))
        yield
        watching.cancel()
        for model in models.values():
            await model.finish()

    application = Starlette(routes=routes, lifespan=lifespan, exception_handlers=_error_handlers(print_fn))
    return _only_own_names(application, options.host) if _is_loopback(options.host) else application


class _Handlers:
    """The functions from requests to responses."""

    def __init__(self, models, options, metrics, print_fn):
        self._models, self._options, self._metrics, self._print = models, options, metrics, print_fn

    async def list_models(self, request):
        """Names, versions and signatures of all models."""
        del request
        found = []
        for name, model in self._models.items():
            signatures = sorted(model.current.servable.signatures)
            found.append({"name": name, **model.current.status, "signatures": signatures})
        return _json({"models": found})

    async def get(self, request):
        """The status or the metadata of a model."""
        match = GET_PATH.fullmatch(request.path_params["path"])
        if match is None:
            raise RequestError(404, f"There is no {request.url.path}; use /v1/models/NAME, alone or with /metadata.")
        name, number, metadata = match.groups()
        model = self._model(name)
        if metadata:
            return _json(_metadata(name, model.find(number and int(number))))
        versions = sorted(model.versions.values(), key=lambda version: -version.number)
        chosen = [version for version in versions if number is None or version.number == int(number)]
        if not chosen:
            raise RequestError(404, f"Model {name} has no version {number}.")
        return _json({"model_version_status": [version.status for version in chosen]})

    async def post(self, request):
        """Predictions, at once or as a stream."""
        from starlette.requests import ClientDisconnect

        started = time.perf_counter()
        match = POST_PATH.fullmatch(request.path_params["path"])
        name, number, method = match.groups() if match else ("", None, "")
        status, response = 500, None
        try:
            if match is None or method not in METHODS:
                raise RequestError(404, f"There is no {request.url.path}; use /v1/models/NAME:predict or :stream.")
            response = await getattr(self, f"_{method}")(request, name, number and int(number))
            status = response.status_code
        except RequestError as error:
            status, response = error.status, _error(error)
        except ClientDisconnect:  # nobody reads the response
            status, response = 499, _json({"error": "The client closed the connection."}, 499)
        finally:
            labels = (name if name in self._models else "", method if method in METHODS else "")
            self._metrics.count_request(*labels, status, time.perf_counter() - started)
        return response

    async def _predict(self, request, name, number):
        from starlette.responses import Response

        version, values, signature, tensors = await self._read(request, name, number)
        outputs = await version.batcher.compute(signature, tensors)
        write = rest_format.write_rows if rest_format.ROWS in values else rest_format.write_columns
        return Response(write(outputs), media_type="application/json")

    async def _stream(self, request, name, number):
        from starlette.responses import StreamingResponse

        version, values, signature, tensors = await self._read(request, name, number)
        as_rows = rest_format.ROWS in values
        is_default = signature is version.servable.signatures.get(DEFAULT_SIGNATURE)
        if is_default and version.decoder is not None and _is_one_row(signature, tensors):
            events = _as_they_come(version.batcher, version.decoder.events(tensors, as_rows), self._options.timeout)
        else:
            outputs = await version.batcher.compute(signature, tensors)
            events = _at_once(list(event_stream.of_outputs(outputs, as_rows)))
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def _read(self, request, name, number):
        """Returns the version that serves a request, its body, its signature and its tensors."""
        self._model(name)
        values = rest_format.read_body(await self._body(request))
        version = self._model(name).find(number)  # after the body came: a new version may have taken over
        signature = version.servable.signature(values.get("signature_name", ""))
        tensors = rest_format.read_tensors(values, signature.inputs, self._options.max_text_length)
        limit = self._options.max_batch_size
        for key, info in signature.inputs.items():
            if info.is_batched and len(tensors[key]) > limit:
                got = len(tensors[key])
                raise RequestError(413, f"Input `{key}` must have at most {limit:,} rows; got {got:,}.")
        return version, values, signature, tensors

    async def _body(self, request):
        """Returns the body of a request, if it is small enough and comes in time."""
        limit, size, parts = self._options.max_body_bytes, 0, []
        try:
            async with asyncio.timeout(self._options.timeout):
                async for part in request.stream():
                    size += len(part)
                    if size <= limit:
                        parts.append(part)
                    elif size > MAX_DISCARDED * limit:
                        break
        except TimeoutError:
            raise RequestError(408, f"The body did not come within {self._options.timeout:g} seconds.") from None
        if size > limit:
            got = request.headers.get("content-length", size)
            raise RequestError(413, f"The body must have at most {limit:,} bytes; got {int(got):,}.")
        return b"".join(parts)

    async def health(self, request):
        """That the server runs; it listens once its models are loaded."""
        del request
        return _json({"status": "ok"})

    async def metrics_page(self, request):
        """The metrics for Prometheus."""
        from starlette.responses import Response

        del request
        for name, model in self._models.items():
            self._metrics.set_state(name, model.current.number, model.current.batcher.waiting_rows)
        return Response(self._metrics.page(), headers={"content-type": self._metrics.content_type})

    def _model(self, name):
        if name not in self._models:
            raise RequestError(404, f"There is no model {name!r:.80}; there are {', '.join(self._models)}.")
        return self._models[name]


def _is_one_row(signature, tensors):
    return all(len(tensors[name]) == 1 for name, info in signature.inputs.items() if info.is_batched)


async def _at_once(events):
    yield b"".join(events)


async def _as_they_come(batcher, events, timeout):
    """Yields events that are computed in the threads of the batches, between these; an error is the last event."""
    end = time.monotonic() + timeout
    try:
        while (event := await batcher.run(next, events, None)) is not None:
            yield event
            if time.monotonic() > end:
                raise RequestError(504, f"The text is not complete after {timeout:g} seconds.")
    except RequestError as error:
        yield event_stream.event("error", {"error": str(error)})
    except Exception as error:
        yield event_stream.event("error", {"error": f"The server failed: {type(error).__name__}."})


def _metadata(name, version):
    signatures = {"signature_def": version.servable.metadata}
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": signatures},
    }


async def _watch(models, seconds, print_fn):
    """Looks for new versions again and again."""
    while True:
        await asyncio.sleep(seconds)
        for model in models.values():
            try:
                await model.refresh()
            except Exception as error:  # a folder that cannot be read now may be readable later
                print_fn(f"{model.name}: cannot look for new versions: {error}")


def _json(values, status=200):
    from starlette.responses import Response

    return Response(rest_format.dump(values), status, media_type="application/json")


def _error(error):
    response = _json({"error": str(error)}, error.status)
    if error.status == 429:
        response.headers["retry-after"] = "1"
    return response


def _error_handlers(print_fn):
    """Returns the functions that make responses of errors, by their class or their status."""
    from starlette.exceptions import HTTPException

    async def refused(request, error):
        del request
        return _error(error)

    async def wrong_path(request, error):
        words = {404: "There is no", 405: f"{request.method} is not for"}
        message = f"{words.get(error.status_code, error.detail)} {request.url.path}."
        return _json({"error": message}, error.status_code)

    async def failed(request, error):
        print_fn(f"{request.url.path}: " + "".join(traceback.format_exception(error)).strip())
        return _json({"error": f"The server failed: {type(error).__name__}."}, 500)

    return {RequestError: refused, HTTPException: wrong_path, Exception: failed}


def _is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _only_own_names(application, host):
    """Refuses requests for other names than this machine's, with which a foreign page could reach the server."""
    from starlette.datastructures import Headers

    names = {host, "localhost", "127.0.0.1", "[::1]"}

    async def checked(scope, receive, send):
        if scope["type"] == "http":
            name = re.sub(r":\d+$", "", Headers(scope=scope).get("host", ""))
            if name not in names:
                message = f"The server is for this machine, by the names {', '.join(sorted(names))}; got {name!r:.80}."
                return await _json({"error": message}, 403)(scope, receive, send)
        return await application(scope, receive, send)

    return checked
