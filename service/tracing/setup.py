"""OpenTelemetry, if the environment names a collector; if not, nothing that makes traces is imported.

FastAPI imports the interface (`opentelemetry.trace` and its kin) whatever one does. What is
traced is chosen once, at the start, by the objects that the service is put together from
(`service.tracing.spans`): without traces it runs no line more for them.
"""

import os
from typing import TYPE_CHECKING, Final

from service.settings import SettingsError

if TYPE_CHECKING:
    from service.tracing.spans import Tracing

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"


def start() -> "Tracing | None":
    """Make ready to trace; None if traces are not wanted.

    Raises SettingsError if they are and cannot be had.
    """
    variables = os.environ
    named = next((name for name in ENDPOINTS if variables.get(name)), None)
    if named is None or variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if variables.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return None
    if not variables[named].startswith(("http://", "https://")):
        raise SettingsError(f"{named} is {variables[named]!r}; expected an URL such as http://127.0.0.1:4318")
    name = next((name for name in _PROTOCOLS if variables.get(name)), None)  # the one for traces overrides the other
    if name is not None and variables[name] != _PROTOCOL:
        raise SettingsError(f"{name} is {variables[name]!r}; only {_PROTOCOL} is sent, to port 4318 as a rule")
    try:
        from service.tracing import spans  # noqa: PLC0415  # 0.1 s and 12 MB that others do without
    except ImportError as error:
        raise SettingsError(
            f"{named} is set, but OpenTelemetry's SDK is not installed; install it with `.venv/bin/python -m pip "
            "install --no-deps --require-hashes -r requirements/tracing.txt`, or unset the variable"
        ) from error
    try:
        return spans.start()
    except ValueError as error:
        raise SettingsError(f"OpenTelemetry refuses a variable that begins with OTEL_: {error}") from error
