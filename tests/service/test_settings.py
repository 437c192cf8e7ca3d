"""What the environment may say, and what one line says when it does not fit."""

from pathlib import Path

import pytest

from service.settings import EXAMPLE_SECRET, ROOT, SettingsError
from tests.service.artifacts import load_settings

SECRET = "a-secret-for-tests-of-32-bytes-or-more"


def test_only_the_secret_has_no_default() -> None:
    settings = load_settings({"SECRET_KEY": SECRET})
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.releases == ROOT / "models/releases"


def test_every_field_is_read_from_the_variable_of_its_name_and_others_are_not_looked_at() -> None:
    settings = load_settings({"SECRET_KEY": SECRET, "PORT": "9000", "LOG_FORMAT": "json", "EDITOR": "vi"})
    assert (settings.port, settings.log_format) == (9000, "json")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings({"SECRET_KEY": SECRET, "PORT": "", "ADMIN_USERNAME": ""}).admin_username is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "é" * 15}, "SECRET_KEY is shorter than 32 bytes"),
        ({"SECRET_KEY": EXAMPLE_SECRET}, r"SECRET_KEY is the example value"),
        ({"SECRET_KEY": SECRET, "SECRET_KEY_PREVIOUS": "short"}, "SECRET_KEY_PREVIOUS is shorter"),
        ({"SECRET_KEY": SECRET, "PORT": "http"}, "PORT: Input should be a valid integer"),
        ({"SECRET_KEY": SECRET, "PORT": "65536"}, "PORT: Input should be less than or equal to 65535"),
        ({"SECRET_KEY": SECRET, "WORKERS": "0"}, "WORKERS: Input should be greater"),
        ({"SECRET_KEY": SECRET, "LOGIN_ATTEMPTS": "9" * 400}, "LOGIN_ATTEMPTS: "),
        ({"SECRET_KEY": SECRET, "LOGIN_WINDOW_SECONDS": "1e308"}, "LOGIN_WINDOW_SECONDS: Input should be less"),
        ({"SECRET_KEY": SECRET, "LOGIN_WINDOW_SECONDS": "nan"}, "LOGIN_WINDOW_SECONDS: "),
        (
            {"SECRET_KEY": SECRET, "TOKEN_LIFETIME_SECONDS": "1" + "0" * 13},
            "TOKEN_LIFETIME_SECONDS: Input should be less",
        ),
        ({"SECRET_KEY": SECRET, "ARGON2_MEMORY_KIB": "4000000000"}, "ARGON2_MEMORY_KIB: Input should be less"),
        (
            {"SECRET_KEY": SECRET, "ARGON2_MEMORY_KIB": "8", "ARGON2_PARALLELISM": "4"},
            "ARGON2_MEMORY_KIB is 8, ARGON2_PARALLELISM needs 32",
        ),
        ({"SECRET_KEY": SECRET, "LOG_FORMAT": "xml"}, "LOG_FORMAT: Input should be 'auto', 'json' or 'text'"),
        ({"SECRET_KEY": SECRET, "SECRET_KEY_FILE": "/x"}, "SECRET_KEY and SECRET_KEY_FILE are both set"),
        ({"SECRET_KEY_FILE": "/nowhere"}, "SECRET_KEY_FILE: cannot read /nowhere"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line_that_names_the_variable(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{message}") as raised:
        load_settings(environment)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("variable", ["SECRET_KEY", "PORT"])
def test_no_value_is_shown(variable: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"SECRET_KEY": SECRET, variable: "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_secrets_are_not_shown() -> None:
    values = {"SECRET_KEY": SECRET, "ADMIN_PASSWORD": "hunter2", "DATABASE_URL": "postgresql://me:hunter2@db/users"}
    assert not {SECRET, "hunter2"} & set(repr(load_settings(values)).replace(":", " ").split())
    assert "hunter2" not in repr(load_settings(values))


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET + "\n")
    settings = load_settings({"SECRET_KEY_FILE": str(tmp_path / "key")})
    assert settings.secret_key.get_secret_value() == SECRET


def test_a_relative_folder_of_releases_counts_from_the_root() -> None:
    settings = load_settings({"SECRET_KEY": SECRET, "RELEASES": "shared/releases"})
    assert settings.releases == ROOT / "shared/releases"


@pytest.mark.parametrize("name", ["LOCK_PATH", "METRICS_PATH", "MODEL_PATH", "REGISTRY_PATH"])
def test_a_variable_of_an_earlier_version_is_refused_with_the_one_that_replaces_it(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} has no effect any more; remove it, and set RELEASES"):
        load_settings({"SECRET_KEY": SECRET, name: "models/model.onnx"})
    load_settings({"SECRET_KEY": SECRET, name: ""})
