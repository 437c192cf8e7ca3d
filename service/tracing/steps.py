"""Spans of the steps of a prediction: decode, validate, infer and encode, for requests whose trace is kept.

Each step is a method of what answers predictions anyway, and is watched from a subclass,
so that a service without traces knows nothing of this. Imported with `service.tracing.spans`.
"""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext

from service.inputs.rows import Encoded, RowReader, Values
from service.instruments.registry import Instruments
from service.scoring.serving import Scored, Served
from service.scoring.together import Together

if TYPE_CHECKING:
    from service.scoring.artifact import Artifact

SCOPE: Final = "service"
"""By which OpenTelemetry tells whose spans these are."""
Attributes = Mapping[str, str | int | float]


@dataclass(slots=True)
class Recorded:
    """A request whose trace is kept, while it is answered."""

    span: Span
    decoded: int = 0
    """When its text was decoded and its values began to be looked at, ns since 1970."""
    is_table: bool = False
    blocks: int = 0
    """Of a table."""
    infer_ns: int = 0
    """What these took in the model."""


RECORDED: Final[ContextVar[Recorded | None]] = ContextVar("recorded", default=None)
"""None as well for a request whose trace is not kept, which is most of them where traces are sampled."""


class Steps:
    """Makes spans of steps that are over, within the span of their request.

    They are made as what the exporter reads: one that begins and ends takes five times as long,
    with locks and limits that a step needs none of.
    """

    def __init__(self, resource: Resource, processor: BatchSpanProcessor) -> None:
        self._resource = resource
        self._processor = processor
        self._scope = InstrumentationScope(SCOPE)

    def note(self, recorded: Recorded, name: str, began: int, ended: int, attributes: Attributes | None = None) -> None:
        """Make the span of a step, from and to a time in ns since 1970."""
        parent = recorded.span.get_span_context()
        # As the SDK draws them; 0 would be none.
        number = random.getrandbits(64) or 1
        self._processor.on_end(
            ReadableSpan(
                name,
                SpanContext(
                    parent.trace_id,
                    number,
                    is_remote=False,
                    trace_flags=parent.trace_flags,
                    trace_state=parent.trace_state,
                ),
                parent,
                self._resource,
                attributes,
                start_time=began,
                end_time=ended,
                instrumentation_scope=self._scope,
            )
        )


class _Reader(RowReader):
    """Reads rows, with spans for decoding and for the look at names, types and categories."""

    def __init__(self, served: Served, steps: Steps) -> None:
        super().__init__(served.contract)
        self._steps = steps

    def decode(self, body: bytes) -> list[Any]:
        """Give a request's rows."""
        recorded = RECORDED.get()
        if recorded is None:
            return super().decode(body)
        began = time_ns()
        try:
            return super().decode(body)
        finally:
            recorded.decoded = time_ns()
            self._steps.note(recorded, "decode", began, recorded.decoded)

    def quick_values(self, body: bytes) -> Values | None:
        """Give the numbers of a request in which nothing is odd at first sight, or None."""
        values = super().quick_values(body)
        recorded = RECORDED.get()
        # Nothing said yet where it is odd: whoever looks more closely does.
        if recorded is not None and values:
            self._steps.note(recorded, "validate", recorded.decoded, time_ns())
        return values


@dataclass(frozen=True, slots=True)
class _Encoded(Encoded):
    """Rows of a request whose trace is kept."""

    recorded: Recorded


@contextlib.contextmanager
def _for_all() -> Iterator[None]:
    """Do in the first request's context what is done for all, and is no step of that one."""
    first = RECORDED.set(None)
    try:
        yield
    finally:
        RECORDED.reset(first)


def _run(version: str, requests: int, rows: int) -> dict[str, str | int]:
    """Describe a run of the model."""
    return {"model.version": version, "batch.size": requests, "batch.rows": rows}


class TracedServed(Served):
    """An artifact whose steps are seen."""

    def __init__(self, artifact: "Artifact", instruments: Instruments, steps: Steps) -> None:
        self._steps = steps
        super().__init__(artifact, instruments)

    def _make_reader(self) -> RowReader:
        return _Reader(self, self._steps)

    def _make_together(self) -> Together:
        return _Together(self, self._steps)

    def read(self, body: bytes, limit: int = 256) -> Encoded:
        """Read a request's instances."""
        recorded = RECORDED.get()
        if recorded is None:
            return super().read(body, limit)
        recorded.decoded = time_ns()
        try:
            encoded = super().read(body, limit)
        finally:
            self._steps.note(recorded, "validate", recorded.decoded, time_ns())
        return _Encoded(encoded.numbers, encoded.outside, recorded)

    def score(self, encoded: Encoded, first: int = 0) -> Scored:
        """Score rows."""
        recorded = RECORDED.get()
        if recorded is None:
            return super().score(encoded, first)
        began = time_ns()
        scored = super().score(encoded, first)
        ended = time_ns()
        if recorded.is_table:
            recorded.blocks += 1
            recorded.infer_ns += ended - began
        else:
            self._steps.note(recorded, "infer", began, ended, _run(self.version, 1, len(encoded.numbers)))
        return scored

    def score_many(self, requests: Sequence[Encoded]) -> list[Scored]:
        """Score and count the rows of several requests; each gets a span over the run that it shared."""
        run = _run(self.version, len(requests), sum(len(each.numbers) for each in requests))
        began = time_ns()
        try:
            with _for_all():
                return super().score_many(requests)
        finally:
            ended = time_ns()
            for each in requests:
                if isinstance(each, _Encoded):
                    self._steps.note(each.recorded, "infer", began, ended, run)

    def answer(self, scored: Scored) -> bytes:
        """Give the JSON document of an answer."""
        recorded = RECORDED.get()
        if recorded is None:
            return super().answer(scored)
        began = time_ns()
        document = super().answer(scored)
        self._steps.note(recorded, "encode", began, time_ns())
        return document


@dataclass(slots=True)
class _Batch:
    """Requests scored together."""

    began: int = 0
    ended: int = 0
    size: int = 0
    """Requests."""
    rows: int = 0


class _Together(Together):
    """Scores small requests together; each gets a span of its own over the run of the model that it shared."""

    def __init__(self, served: Served, steps: Steps) -> None:
        super().__init__(served)
        self._steps = steps
        self._version = served.version
        self._batch = _Batch()

    async def score(self, values: Values, body: bytes) -> Scored:
        """Score and count rows with whatever else has come."""
        batch = self._batch
        try:
            return await super().score(values, body)
        finally:
            recorded = RECORDED.get()
            if recorded is not None and batch.ended:
                run = _run(self._version, batch.size, batch.rows)
                self._steps.note(recorded, "infer", batch.began, batch.ended, run)

    def _score(self) -> None:
        batch, self._batch = self._batch, _Batch()
        batch.size, batch.rows = len(self._waiting), sum(len(values) for values, _, _ in self._waiting)
        batch.began = time_ns()
        try:
            with _for_all():
                super()._score()
        finally:
            batch.ended = time_ns()
