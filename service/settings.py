"""Settings from environment variables and `.env`, checked before anything starts."""

import json
import logging
import os
import stat
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.release import DEFAULT_FOLDER

ROOT: Final = Path(__file__).parent.parent
EXAMPLE_SECRET: Final = "replace-this-by-32-or-more-random-bytes"  # noqa: S105  # the value in .env.example, refused here
EXAMPLE_PASSWORD: Final = "replace-this-by-a-password"  # noqa: S105  # likewise
MIN_SECRET_BYTES: Final = 32
REPLACED: Final = ("LOCK_PATH", "METRICS_PATH", "MODEL_PATH", "REGISTRY_PATH")
"""Variables of earlier versions, which RELEASES replaces."""

_log = logging.getLogger(__name__)


class SettingsError(Exception):
    """A setting is invalid. The message is one line with the variable and what to do."""


def env_file() -> Path:
    """Return the file that ENV_FILE names, or .env in the repository's root."""
    return Path(os.environ.get("ENV_FILE") or ROOT / ".env")


def _from_root(value: Any) -> Any:
    return ROOT / value if isinstance(value, str | Path) else value


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _check_key(secret: SecretStr | None) -> SecretStr | None:
    text = secret.get_secret_value() if secret else None
    if text == EXAMPLE_SECRET:
        raise ValueError("is the example value; generate your own with `openssl rand -hex 32`")
    if text is not None and len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"is shorter than {MIN_SECRET_BYTES} bytes; generate one with `openssl rand -hex 32`")
    return secret


def _check_password(secret: SecretStr | None) -> SecretStr | None:
    if secret and secret.get_secret_value() == EXAMPLE_PASSWORD:
        raise ValueError("is the example value; choose your own")
    return secret


ScopeRules = dict[Literal["predict", "admin"], dict[str, list[str | bool]]]
"""The claims that give each scope; one of the listed values of one claim is enough."""
RootPath = Annotated[Path, BeforeValidator(_from_root)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]


class Settings(BaseSettings):
    """The service's settings; each field is the environment variable of the same name in capitals.

    A relative path starts at the repository's root.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    secret_key: Annotated[SecretStr, AfterValidator(_check_key)]
    """Signs tokens; at least 32 bytes."""
    secret_key_previous: Annotated[SecretStr | None, AfterValidator(_check_key)] = None
    """The key before, which is still accepted. Remove it when nothing signed with it is valid any more."""
    token_lifetime_seconds: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)] = 3600
    """How long a token is valid."""
    token_issuer: str = "reproducible-ml"  # noqa: S105  # a name, not a secret
    """The `iss` of tokens."""
    token_audience: str = "reproducible-ml"  # noqa: S105  # a name, not a secret
    """The `aud` of tokens. With different ones, two services that share a key refuse each other's tokens."""
    admin_username: str | None = None
    """With `ADMIN_PASSWORD`: the first user, whom the service adds if there is no user."""
    admin_password: Annotated[SecretStr | None, AfterValidator(_check_password)] = None
    """The first user's password."""
    database_url: SecretStr = Field(default_factory=lambda: SecretStr(f"sqlite:///{ROOT / 'users.db'}"))
    """Users, API keys and feedback: SQLite or PostgreSQL."""
    database_connections: Count = 4
    """Most connections to PostgreSQL, shared by the workers of this process; each worker has at least one."""
    token_cache_size: Count = 4096
    """Most tokens and API keys that a worker remembers as verified, about 1 KiB each. Verifying one again costs about
    as much as a prediction."""

    # OWASP's recommendation with parallelism 1 takes 25 ms per hash; RFC 9106's takes 100 ms of a core that predicts.
    # OWASP also recommends two passes over 19 MiB, but glibc keeps blocks that small in memory, one for each thread.
    argon2_time_cost: Count = 1
    """Passes over the memory for each password."""
    argon2_memory_kib: Annotated[int, Field(ge=8, le=4 * 1024**2)] = 47_104
    """Memory for hashing a password."""
    argon2_parallelism: Count = 1
    """Lanes of the hash."""
    login_concurrency: Count = 1
    """How many passwords a worker checks at the same time; others wait."""
    login_attempts: Count = 10
    """Failed logins of a user at one address in the window before the next one gets 429. One address, or one user
    name, may have four times as many. With several workers, each one allows its part."""
    login_window_seconds: Seconds = 60.0
    """See `LOGIN_ATTEMPTS`."""

    oidc_issuer: str | None = None
    """URL of the identity provider for single sign-on (docs/how-to/access.md). None turns single sign-on off."""
    oidc_client_id: str = ""
    """The id of this service at the identity provider."""
    oidc_client_secret: SecretStr | None = None
    """None for a public client, which only PKCE protects."""
    oidc_scopes: Annotated[ScopeRules, NoDecode, BeforeValidator(_from_json)] = {}
    """The claims that give each scope, as JSON: ``{"predict": {"groups": ["staff"]}}``; ``{}`` gives it to everyone."""
    oidc_audience: str | None = None
    """The `aud` of programs' tokens; the client's id by default."""
    oidc_redirect_uri: str | None = None
    """The URL of /callback, where the provider sends people back; by default made from the browser's request."""

    releases: RootPath = ROOT / DEFAULT_FOLDER
    """The folder of releases; the service serves its link `current`."""
    reload_seconds: Seconds = 1.0
    """How often the service checks for a new release."""

    feedback_days: Count = 30
    """How long after a prediction the service accepts feedback on it."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for all."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """The port to listen on; 0 for a free one."""
    workers: Count = 1
    """Number of worker processes."""
    forwarded_allow_ips: str = "127.0.0.1"
    """Trusted proxies: the service takes the client's address, by which it counts logins, from their X-Forwarded-For.
    Addresses or networks, separated by commas, or * for all."""
    shutdown_seconds: Count = 30
    """How long the service waits for running requests when it stops."""
    max_instances: Count = 10_000
    """Most rows in a JSON request; a table can have any number."""
    max_explained: Count = 50
    """Most rows in a JSON request with ?explain=true."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    """Largest JSON body. A line of CSV or NDJSON may have a thirty-second part of this."""
    metrics_dir: Path | None = None
    """The folder in which several workers keep their counters; by default a new temporary one for each start."""
    metrics_seconds: Seconds = 1.0
    """Shortest time between two renderings of GET /metrics in a worker; faster requests wait and share one."""
    metrics_token: Annotated[SecretStr | None, AfterValidator(_check_key)] = None
    """Bearer token for GET /metrics, at least 32 bytes. Without it, everyone may read the metrics."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, JSON lines elsewhere."""
    access_log_sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of requests in the log, from 0 to 1, drawn at random. Errors (status 400 and above) and requests of a
    second and longer are always in the log."""

    @model_validator(mode="after")
    def _check_argon2(self) -> "Settings":
        least = 8 * self.argon2_parallelism  # RFC 9106, section 3.1
        if self.argon2_memory_kib < least:
            raise SettingsError(f"ARGON2_MEMORY_KIB is {self.argon2_memory_kib}, ARGON2_PARALLELISM needs {least}")
        return self

    @model_validator(mode="after")
    def _check_single_sign_on(self) -> "Settings":
        if self.oidc_issuer is None:
            return self
        address = urlsplit(self.oidc_issuer)
        if address.scheme != "https" and address.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise SettingsError("OIDC_ISSUER must begin with https://, unless it is on this machine")
        if not self.oidc_client_id or not self.oidc_scopes:
            raise SettingsError("OIDC_ISSUER also needs OIDC_CLIENT_ID and OIDC_SCOPES (docs/how-to/access.md)")
        return self

    @classmethod
    def load(cls, **known: Any) -> "Settings":
        """Load the settings from the environment and from .env; `known` overrides both.

        The environment overrides .env. An empty variable counts as not set. A secret can be in a file: then
        ``SECRET_KEY_FILE`` is its path. OpenTelemetry's variables in .env are copied to the process's environment,
        because its SDK reads only that.

        Raises SettingsError with one line that names the variable.
        """
        path = env_file()
        in_file = _read_env_file(path)
        variables = in_file | {name: value for name, value in os.environ.items() if value}
        for name in REPLACED:
            if name in variables:
                raise SettingsError(
                    f"{name} has no effect any more; remove it, and set RELEASES to the folder of releases"
                )
        os.environ.update({name: value for name, value in variables.items() if name.startswith("OTEL_")})
        try:
            return cls(_env_file=path, **dict(_read_secrets(cls, variables)) | known)
        except ValidationError as error:
            raise SettingsError("; ".join(_explain(each) for each in error.errors())) from None


def _read_env_file(path: Path) -> dict[str, str]:
    """Return the variables in the file. A missing .env is like an empty one, but the file ENV_FILE must exist."""
    if not path.exists() and not os.environ.get("ENV_FILE"):
        return {}
    try:
        text = StringIO(path.read_text(encoding="utf-8"))
        if stat.S_ISREG(mode := path.stat().st_mode) and mode & stat.S_IROTH:
            _log.warning("everyone on this machine can read the secrets in %s; run `chmod 600 %s`", path, path)
        return {name: value for name, value in dotenv_values(stream=text).items() if value}
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8; copy .env.example and fill it in again") from None


def _read_secrets(cls: type[Settings], variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the field and value of each secret that is in a file."""
    for field, info in cls.model_fields.items():
        name = f"{field.upper()}_FILE"
        if name in variables and info.annotation in (SecretStr, SecretStr | None):
            if field.upper() in variables:
                raise SettingsError(f"{field.upper()} and {name} are both set; keep one")
            try:
                yield field, Path(variables[name]).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{name}: cannot read {variables[name]}: {error}") from None


def _explain(error: Any) -> str:
    name = str(error["loc"][0]).upper() if error["loc"] else "settings"
    if error["type"] == "missing":
        return f"{name} is not set; put it into the environment or .env (`make serve` generates one)"
    if error["type"] == "value_error":
        return f"{name} {error['ctx']['error']}"
    return f"{name}: {error['msg']}"
