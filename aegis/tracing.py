"""Traces by OpenTelemetry, where its standard environment variables ask for them; otherwise nothing of it is loaded.

A request, the nodes of its question and their calls of backends are one trace. Spans carry names, routes, states and
sizes, never what people ask, what documents say, or a secret.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
DEFAULTS = {
    "OTEL_SERVICE_NAME": "aegisrag",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "3",  # seconds; what cannot be sent is dropped, and nobody waits for it
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
}
_NOTHING: AbstractContextManager[Any] = nullcontext()
_tracer: Any = None


def wanted(environment: Mapping[str, str] = os.environ) -> str:
    """`otlp`, `console`, or nothing. By OTEL_TRACES_EXPORTER, or by an endpoint alone."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").lower()
    if exporter:
        return exporter if exporter in ("otlp", "console") else ""
    return "otlp" if any(environment.get(name) for name in ENDPOINTS) else ""


@contextmanager
def traced(version: str) -> Generator[None]:
    """While the body runs, spans are made and sent, if the environment asks for it."""
    global _tracer
    exporter = wanted()
    if not exporter:
        yield
        return
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_exporter(exporter)))
    _tracer = provider.get_tracer("aegisrag", version)
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


def _exporter(name: str) -> Any:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """Yields the span, or None where nothing is traced. An error that leaves it marks it by its kind, without words."""
    return _NOTHING if _tracer is None else _span(name, attributes)


def server_span(name: str, headers: Mapping[str, str], **attributes: str | int | float) -> AbstractContextManager[Any]:
    """The same for a request; it goes on with the trace of a caller that names one (`traceparent`)."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(headers)
    return _span(name, attributes, context=context, kind=SpanKind.SERVER)


@contextmanager
def _span(name: str, attributes: Mapping[str, Any], **given: Any) -> Generator[Any]:
    from opentelemetry.trace import Status, StatusCode

    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False, **given
    ) as made:
        try:
            yield made
        except BaseException as error:
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
