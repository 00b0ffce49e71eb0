"""Settings from the environment."""

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import ENV_PREFIX, Settings, SettingsError, load_settings, unknown_variables

DOCS = Path(__file__).parents[1] / "docs" / "settings.md"


def test_the_defaults_serve_on_loopback() -> None:
    """Without any variable the service listens on loopback and keeps its data below the working directory."""
    settings = load_settings()

    assert (settings.host, settings.port, settings.models_dir) == ("127.0.0.1", 8000, Path("data/models"))
    assert settings.is_loopback
    assert settings.is_anonymous


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("P1D", timedelta(days=1)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, expected: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """A duration is a number with a unit such as `90s`, or ISO 8601."""
    monkeypatch.setenv("OCR_TRASH_RETENTION", text)

    assert load_settings().trash_retention == expected


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of patterns is separated by commas, and needs no JSON."""
    monkeypatch.setenv("OCR_PROTECTED", "en_*, org_repo/*,")

    assert load_settings().protected == ("en_*", "org_repo/*")


CANDIDATES = (
    "77",
    "77s",
    "true",
    "json",
    "debug",
    "::1",
    "/prefix",
    "https://hub.example/",
    "https://app.example",
    "some.module:Engine",
    "/a folder",
    "mistral",
)
FIELDS = sorted(Settings.model_fields)


def value_for(name: str) -> tuple[str, str]:
    """Return a setting's variable, and a text that is valid for it and not its default."""
    for text in CANDIDATES:
        with contextlib.suppress(ValidationError):
            if getattr(Settings(**{name: text}), name) != Settings.model_fields[name].default:  # type: ignore[arg-type]
                return f"{ENV_PREFIX}{name.upper()}", text
    raise AssertionError(name)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("blank", ["", " ", "\t \r\n"])
def test_an_empty_variable_is_an_unset_one(name: str, blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that is empty or blank leaves its default, as if it were unset."""
    monkeypatch.setenv(value_for(name)[0], blank)

    assert load_settings() == Settings.model_construct()


@pytest.mark.parametrize("name", FIELDS)
def test_white_space_around_a_value_is_removed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable has the same value with blanks, a line end and a CR around it; the value is not the default."""
    variable, value = value_for(name)
    monkeypatch.setenv(variable, value)
    plain = load_settings()
    monkeypatch.setenv(variable, f" {value}\r\n")

    assert load_settings() == plain
    assert getattr(plain, name) != getattr(Settings.model_construct(), name)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("form", ['"{}"', "'{}'", "{}\r{}", "{}\x1b[2J{}", '""'])
def test_quotes_and_control_characters_are_refused(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable in quotes or with a control character refuses the start, names itself and shows no value."""
    variable, value = value_for(name)
    monkeypatch.setenv(variable, form.format(value, value))

    with pytest.raises(SettingsError, match=variable) as refused:
        load_settings()

    assert value not in str(refused.value)


def test_a_list_can_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single comma is a list without any element, also where the default has some."""
    monkeypatch.setenv("OCR_OLD_PATTERNS", ",")

    assert load_settings().old_patterns == ()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("OCR_PORT", "tcp://10.0.0.1:8000", "should be a whole number"),
        ("OCR_PORT", "70000", "should be at most 65535"),
        ("OCR_TRASH_RETENTION", "-1h", "TRASH_RETENTION=-1h"),
        ("OCR_LOG_FORMAT", "xml", "'auto', 'console' or 'json'"),
        ("OCR_ENGINE_CLASS", "nonsense", "a module and a class"),
        ("OCR_ROOT_PATH", "ocr/", "such as /models-api"),
        ("OCR_ROOT_PATH", "/a b", "such as /models-api"),
        ("OCR_ROOT_PATH", "/..", "such as /models-api"),
        ("OCR_ALLOWED_HOSTS", "ocr.example:8000", "no request can match"),
        ("OCR_ALLOWED_HOSTS", "*.example.com", "no request can match"),
        ("OCR_ALLOWED_HOSTS", "http://ocr.example", "no request can match"),
        ("OCR_ALLOWED_HOSTS", "[fd00::1]:80", "no request can match"),
        ("OCR_ALLOWED_HOSTS", "fd00::1::2", "no request can match"),
        ("OCR_ALLOWED_HOSTS", "bücher.example", "no request can match"),
        ("OCR_ENGINE_MEMORY_LIMIT", "9" * 30, "should be at most"),
        ("OCR_SHUTDOWN_GRACE", "0", "should be at least 1s"),
        ("OCR_ENGINE_START_TIMEOUT", "0", "should be at least 1s"),
        ("OCR_ENGINE_LOAD_TIMEOUT", "0", "should be at least 1s"),
        ("OCR_ENGINE_CALL_TIMEOUT", "0", "should be at least 1s"),
        ("OCR_TRASH_RETENTION", "99999999d", "should be at most 36500d"),
        ("OCR_TRASH_RETENTION", "9" * 400 + "s", "should be at most 36500d"),
        ("OCR_TRASH_RETENTION", "24", "has no unit"),
        ("OCR_TRASH_RETENTION", "24 hours", "such as 90s, 30m, 24h or 7d"),
        ("OCR_TRASH_RETENTION", "24:00:00", "such as 90s, 30m, 24h or 7d"),
        ("OCR_JOB_RETENTION", "P99999999D", "should be at most 36500d"),
        ("OCR_HUB_ENDPOINT", "https://me:password@hub.example", "without a password"),
        ("OCR_PULL_ALLOWED_URLS", "https://hub.example:x/", "is not one"),
        ("OCR_PULL_ALLOWED_URLS", "https://me@hub.example/", "is not one"),
    ],
)
def test_an_invalid_value_is_explained(variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, its value, the reason, and the meaning of the setting."""
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as refused:
        load_settings()

    assert f"{variable}={value}" in str(refused.value)
    assert says in str(refused.value)
    assert "It is: " in str(refused.value)


NONSENSE = ("", "nonsense", "-7", "9" * 40, "PT", "P1Y", "1e999", "\u0663", "a b", "/..", "x" * 300)
OF_PYDANTIC = ("Input should", "valid ", "pattern", "parse", "string", "timedelta", "boolean", "integer", "^", "\\")


def refusal_of_settings() -> str:
    """Return why the settings are refused; empty if they are not."""
    try:
        load_settings()
    except SettingsError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize("name", FIELDS)
def test_a_refusal_is_in_plain_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the value, a refusal speaks of what the setting should be, never of Python or regular expressions."""
    about = (Settings.model_fields[name].description or "").strip()
    for value in NONSENSE:
        monkeypatch.setenv(f"{ENV_PREFIX}{name.upper()}", value)
        reason = refusal_of_settings().replace(value or "=", "").replace(about, "")
        assert not any(part in reason for part in OF_PYDANTIC), reason


@pytest.mark.parametrize("is_in_file", [True, False])
def test_an_invalid_hub_token_is_refused_without_showing_it(
    is_in_file: bool,  # noqa: FBT001 - a parameter of the test
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A token that no header can hold raises SettingsError without showing the token; a final line end is ignored."""

    def read(token: str) -> str | None:
        (tmp_path / "token").write_text(token)
        monkeypatch.setenv("OCR_HUB_TOKEN", token)
        if is_in_file:
            monkeypatch.setenv("OCR_HUB_TOKEN_FILE", str(tmp_path / "token"))
        return load_settings().read_hub_token()

    assert read("hf_secret\n") == "hf_secret"
    assert read("\n") is None
    for token in ("hf_secret\nhf_secret", "hf secret", "hf_s\u00e9cret"):
        with pytest.raises(SettingsError, match="OCR_HUB_TOKEN") as refused:
            read(token)
        assert "cret" not in str(refused.value)


@pytest.mark.parametrize("is_in_file", [False, True])
def test_the_secrets_of_webhooks_are_checked(
    is_in_file: bool,  # noqa: FBT001 - a parameter of the test
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several secrets are separated by commas or lines; a wrong one is named by its variable and not shown."""
    first, second = "whsec_" + "QUJD" * 8, "whsec_" + "REVG" * 16

    def read(text: str) -> tuple[str, ...]:
        if is_in_file:
            (tmp_path / "secrets").write_text(text)
            monkeypatch.setenv("OCR_WEBHOOK_SECRET_FILE", str(tmp_path / "secrets"))
        else:
            monkeypatch.setenv("OCR_WEBHOOK_SECRET", text)
        return load_settings().read_webhook_secrets()

    assert read("") == ()
    assert read(first) == (first,)
    assert read(f"{first}\n{second}\n" if is_in_file else f"{first}, {second}") == (first, second)
    for wrong in ("whsec_", "QUJD" * 8, "whsec_QUJD", "whsec_" + "QUJD" * 30, "whsec_" + "Q!JD" * 8, f"{first},secret"):
        with pytest.raises(SettingsError, match="OCR_WEBHOOK_SECRET") as refused:
            read(wrong)
        assert "QUJD" not in str(refused.value)
        assert "REVG" not in str(refused.value)


def test_allowed_webhooks_need_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that allows webhooks without a secret that signs them does not start."""
    monkeypatch.setenv("OCR_WEBHOOK_ALLOWED_URLS", "https://receiver.example/")
    with pytest.raises(SettingsError, match="OCR_WEBHOOK_SECRET"):
        load_settings().read_webhook_secrets()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "ocr.example"])
def test_an_address_beyond_loopback_requires_keys_or_consent(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host beyond loopback requires OCR_API_KEYS_FILE or OCR_ALLOW_ANONYMOUS=true."""
    monkeypatch.setenv("OCR_HOST", host)
    with pytest.raises(SettingsError, match="OCR_ALLOW_ANONYMOUS=true"):
        load_settings()

    monkeypatch.setenv("OCR_API_KEYS_FILE", "keys.toml")
    assert load_settings().host == host
    monkeypatch.delenv("OCR_API_KEYS_FILE")
    monkeypatch.setenv("OCR_ALLOW_ANONYMOUS", "true")
    assert load_settings().host == host


def test_unknown_variables_get_a_sentence() -> None:
    """An unknown variable gets a sentence and no error: Kubernetes sets OCR_SERVICE_HOST for a service named `ocr`."""
    assert unknown_variables(["OCR_PROT", "OCR_SERVICE_HOST", "OCR_PORT", "PATH"]) == [
        "OCR_PROT is not a setting; did you mean OCR_PORT?",
        "OCR_SERVICE_HOST is not a setting; did you mean OCR_SERVICE_NAME?",
    ]


def test_every_setting_is_in_the_docs() -> None:
    """docs/settings.md has a row for each setting, with the description in the code."""
    documented = DOCS.read_text()

    for name, field in Settings.model_fields.items():
        assert f"`{ENV_PREFIX}{name.upper()}`" in documented
        assert field.description is not None
        assert field.description.strip() in documented
