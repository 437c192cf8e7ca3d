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

from service.release import DEFAULT_FOLDER, MAX_BYTES

ROOT: Final = Path(__file__).parent.parent
EXAMPLE_SECRET: Final = "replace-this-by-32-or-more-random-bytes"  # noqa: S105  # the value in .env.example, refused here
EXAMPLE_PASSWORD: Final = "replace-this-by-a-password"  # noqa: S105  # likewise
MIN_SECRET_BYTES: Final = 32
REPLACED: Final = ("LOCK_PATH", "METRICS_PATH", "MODEL_PATH", "REGISTRY_PATH")
"""Variables of earlier versions, which RELEASES replaces."""

_log = logging.getLogger(__name__)


class SettingsError(Exception):
    """A setting is wrong: one line that names the variable and says what to do."""


def env_file() -> Path:
    """Return the file that ENV_FILE names, or .env in the repository's root."""
    return Path(os.environ.get("ENV_FILE") or ROOT / ".env")


def file_error(error: OSError) -> str:
    """Return the file's name, if the error has one, and what is wrong with it."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _from_root(value: Any) -> Any:
    return ROOT / value if isinstance(value, str | Path) else value


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _check_key(secret: SecretStr | None) -> SecretStr | None:
    text = secret.get_secret_value() if secret else None
    if text == EXAMPLE_SECRET:
        raise ValueError("is the one of .env.example; draw your own with `openssl rand -hex 32`")
    if text is not None and len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"is shorter than {MIN_SECRET_BYTES} bytes; draw one with `openssl rand -hex 32`")
    return secret


def _check_password(secret: SecretStr | None) -> SecretStr | None:
    if secret and secret.get_secret_value() == EXAMPLE_PASSWORD:
        raise ValueError("is the one of .env.example; choose your own")
    return secret


ScopeRules = dict[Literal["predict", "admin"], dict[str, list[str | bool]]]
"""By scope, the claims that give it: any of the listed values of any of them."""
RootPath = Annotated[Path, BeforeValidator(_from_root)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]


class Settings(BaseSettings):
    """The service's settings; each field is the environment variable of the same name in capitals.

    A relative path counts from the repository's root.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    secret_key: Annotated[SecretStr, AfterValidator(_check_key)]
    """Signs tokens; at least 32 bytes."""
    secret_key_previous: Annotated[SecretStr | None, AfterValidator(_check_key)] = None
    """Still accepted while tokens signed with it live."""
    token_lifetime_seconds: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)] = 3600
    token_issuer: str = "reproducible-ml"  # noqa: S105  # a name, not a secret
    token_audience: str = "reproducible-ml"  # noqa: S105  # a name, not a secret
    admin_username: str | None = None
    admin_password: Annotated[SecretStr | None, AfterValidator(_check_password)] = None
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

    oidc_issuer: str | None = None
    """URL of the identity provider for single sign-on (docs/access.md); none by default."""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr | None = None
    """Left out for a public client, which PKCE alone protects."""
    oidc_scopes: Annotated[ScopeRules, NoDecode, BeforeValidator(_from_json)] = {}
    """Which claims give which scope, as JSON: ``{"predict": {"groups": ["staff"]}}``; an empty object: to everyone."""
    oidc_audience: str | None = None
    """What programs' tokens must name in `aud`; the client's id by default."""
    oidc_redirect_uri: str | None = None
    """Where the provider sends people back: the address of /callback; by default as the browser's request has it."""

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
    """Where several workers keep their counters; a folder of its own for each start by default."""
    metrics_seconds: Seconds = 1.0
    """How often at most a worker renders GET /metrics; requests that come faster wait and share a rendering."""
    metrics_token: Annotated[SecretStr | None, AfterValidator(_check_key)] = None
    """What GET /metrics wants as a bearer token, at least 32 bytes; without it everyone may read the metrics."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, JSON lines elsewhere."""

    @model_validator(mode="after")
    def _check_argon2(self) -> "Settings":
        least = 8 * self.argon2_parallelism  # RFC 9106, section 3.1
        if self.argon2_memory_kib < least:
            raise SettingsError(f"ARGON2_MEMORY_KIB is {self.argon2_memory_kib}, ARGON2_PARALLELISM wants {least}")
        return self

    @model_validator(mode="after")
    def _check_single_sign_on(self) -> "Settings":
        if self.oidc_issuer is None:
            return self
        address = urlsplit(self.oidc_issuer)
        if address.scheme != "https" and address.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise SettingsError("OIDC_ISSUER must begin with https://, unless it is on this machine")
        if not self.oidc_client_id or not self.oidc_scopes:
            raise SettingsError("OIDC_ISSUER needs OIDC_CLIENT_ID and OIDC_SCOPES beside it (docs/access.md)")
        return self

    @classmethod
    def load(cls, **known: Any) -> "Settings":
        """Read the environment, then .env; what is `known` overrides both, and an empty variable counts as not set.

        A secret may be in a file that ``SECRET_KEY_FILE`` names, as Docker and Kubernetes mount them. OpenTelemetry's
        variables in .env go into the process's environment, the only place where its SDK looks.

        Raises SettingsError with one line that names the variable.
        """
        path = env_file()
        in_file = _read_env_file(path)
        variables = in_file | {name: value for name, value in os.environ.items() if value}
        for name in REPLACED:
            if name in variables:
                raise SettingsError(f"{name} has no effect any more; remove it, and set RELEASES to the release folder")
        os.environ.update({name: value for name, value in variables.items() if name.startswith("OTEL_")})
        try:
            return cls(_env_file=path, **dict(_read_secrets(cls, variables)) | known)
        except ValidationError as error:
            raise SettingsError("; ".join(_explain(each) for each in error.errors())) from None


def _read_env_file(path: Path) -> dict[str, str]:
    """Return the file's variables; an absent .env is empty, a file that ENV_FILE names must be there."""
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
        raise SettingsError(f"{path} is not UTF-8; write it anew from .env.example") from None


def _read_secrets(cls: type[Settings], variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield field and value of each secret that is in a file of its own."""
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
        return f"{name} is not set; put it into the environment or .env (`make serve` draws one)"
    if error["type"] == "value_error":
        return f"{name} {error['ctx']['error']}"
    return f"{name}: {error['msg']}"
