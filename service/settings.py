"""What the service is told by its environment, checked before anything starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from service.release import DEFAULT_FOLDER, MAX_BYTES

ROOT: Final = Path(__file__).parent.parent
EXAMPLE_SECRET: Final = "replace-this-by-32-or-more-random-bytes"  # noqa: S105  # what .env.example says, refused here
EXAMPLE_PASSWORD: Final = "replace-this-by-a-password"  # noqa: S105  # likewise
MIN_SECRET_BYTES: Final = 32
REPLACED: Final = ("LOCK_PATH", "METRICS_PATH", "MODEL_PATH", "REGISTRY_PATH")
"""Variables of earlier versions, which RELEASES replaces."""


class SettingsError(Exception):
    """The environment does not fit: one line that names the variable and says what to do."""


def _from_root(value: Any) -> Any:
    return ROOT / value if isinstance(value, str | Path) else value


def file_error(error: OSError) -> str:
    """Tell which file it was about, where it says so."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _check_strength(secret: SecretStr) -> None:
    text = secret.get_secret_value()
    if text == EXAMPLE_SECRET:
        raise ValueError("is the one of .env.example; draw your own with `openssl rand -hex 32`")
    if len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"is shorter than {MIN_SECRET_BYTES} bytes; draw one with `openssl rand -hex 32`")


RootPath = Annotated[Path, BeforeValidator(_from_root)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]


class Settings(BaseModel):
    """The service's settings; each field is the environment variable of the same name in capitals.

    A relative path counts from the repository's root.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret_key: SecretStr
    """Signs tokens; at least 32 bytes."""
    secret_key_previous: SecretStr | None = None
    """Still accepted while tokens signed with it live."""
    token_lifetime_seconds: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)] = 3600
    token_issuer: str = "reproducible-ml"  # noqa: S105  # a name, not a secret
    token_audience: str = "reproducible-ml"  # noqa: S105  # a name, not a secret
    admin_username: str | None = None
    admin_password: SecretStr | None = None
    """With `admin_username`, the first user, made when there is none."""
    database_url: SecretStr = Field(default_factory=lambda: SecretStr(f"sqlite:///{ROOT / 'users.db'}"))

    # OWASP's recommendation for one lane: 25 ms a hash, where RFC 9106's would take 100 ms of a core that predicts.
    # Its other one, 19 MiB twice over, is small enough for glibc to keep the memory, 19 MiB for each thread.
    argon2_time_cost: Count = 1
    argon2_memory_kib: Annotated[int, Field(ge=8, le=4 * 1024**2)] = 47_104
    argon2_parallelism: Count = 1
    login_concurrency: Count = 1
    """Passwords checked at the same time in one worker; more wait."""
    login_attempts: Count = 10
    """Failed logins of one user at one address within the window, and four times as many for one address or for
    one user name; after these, 429. Several workers share them out."""
    login_window_seconds: Seconds = 60.0

    releases: RootPath = ROOT / DEFAULT_FOLDER
    """The folder of releases; the one that its link `current` names is served."""
    max_artifact_bytes: Count = MAX_BYTES
    """Largest size of a file of a release."""
    reload_seconds: Seconds = 1.0
    """How often the service looks for another release."""

    feedback_days: Count = 30
    """How long after a prediction its truth is taken."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    workers: Count = 1
    """Processes that answer."""
    forwarded_allow_ips: str = "127.0.0.1"
    """Proxies whose X-Forwarded-For tells the caller's address, which logins are counted by: addresses or networks,
    separated by commas, or * for all."""
    shutdown_seconds: Count = 30
    """How long a stop waits for answers under way."""
    max_instances: Count = 10_000
    """Rows of one JSON request; a table may have any number."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """Of a JSON body; of one line in CSV or NDJSON a thirty-second part."""
    metrics_dir: Path | None = None
    """Where workers keep their counters; a folder of its own for each start by default."""
    metrics_seconds: Seconds = 1.0
    """How often at most a worker renders GET /metrics; requests that come faster wait and share a rendering."""
    metrics_token: SecretStr | None = None
    """What GET /metrics wants as a bearer token, at least 32 bytes; without it everyone may read the metrics."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, JSON lines elsewhere."""
    otel: dict[str, str] = {}
    """Variables of OpenTelemetry, by their own names: every one that begins with OTEL_."""

    @model_validator(mode="after")
    def _check_argon2(self) -> "Settings":
        least = 8 * self.argon2_parallelism  # RFC 9106, section 3.1
        if self.argon2_memory_kib < least:
            raise SettingsError(f"ARGON2_MEMORY_KIB is {self.argon2_memory_kib}, ARGON2_PARALLELISM wants {least}")
        return self

    @model_validator(mode="after")
    def _check_secrets(self) -> "Settings":
        if self.admin_password is not None and self.admin_password.get_secret_value() == EXAMPLE_PASSWORD:
            raise SettingsError("ADMIN_PASSWORD is the one of .env.example; choose your own")
        for name in ("secret_key", "secret_key_previous", "metrics_token"):
            secret = getattr(self, name)
            if secret is not None:
                try:
                    _check_strength(secret)
                except ValueError as error:
                    raise SettingsError(f"{name.upper()} {error}") from None
        return self

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; an empty variable counts as not set.

        A secret may stand in a file: ``SECRET_KEY_FILE`` names it, as Docker and Kubernetes mount them.
        Raises SettingsError with one line that names the variable.
        """
        for name in REPLACED:
            if environ.get(name):
                raise SettingsError(f"{name} has no effect any more; remove it, and set RELEASES to the release folder")
        values: dict[str, Any] = {name: environ[name.upper()] for name in cls.model_fields if environ.get(name.upper())}
        values["otel"] = {name: value for name, value in environ.items() if name.startswith("OTEL_") and value}
        for name in cls.model_fields:
            path = environ.get(f"{name.upper()}_FILE")
            if path and _is_secret(cls, name):
                if name in values:
                    raise SettingsError(f"{name.upper()} and {name.upper()}_FILE are both set; keep one")
                values[name] = _read_secret(f"{name.upper()}_FILE", path)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("; ".join(_explain(each) for each in error.errors())) from None


def _is_secret(cls: type[Settings], name: str) -> bool:
    return cls.model_fields[name].annotation in (SecretStr, SecretStr | None)


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}: cannot read {path}: {error}") from None


def _explain(error: Any) -> str:
    name = str(error["loc"][0]).upper() if error["loc"] else "settings"
    if error["type"] == "missing":
        return f"{name} is not set; put it into the environment or .env (`make serve` draws one)"
    return f"{name}: {error['msg'].removeprefix('Value error, ')}"
