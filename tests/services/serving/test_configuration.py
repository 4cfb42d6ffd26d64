"""Where the values of settings come from, and what is said of those that are wrong."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pygrpc.services.serving import Configuration, SettingError, load
from pygrpc.services.serving.configuration import BY_NAME, SETTINGS


def file_of(folder: Path, content: str) -> str:
    path = folder / "serve.toml"
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_options_come_before_the_environment_before_the_file_before_defaults(tmp_path: Path) -> None:
    file = file_of(tmp_path, 'host = "file"\nport = 1\ngrace = 1\nworkers = 3\n')
    environment = {"GRPC_HOST": "environment", "GRPC_PORT": "2", "GRPC_GRACE": "", "UNRELATED": "x"}
    configuration, sources = load({"host": "option"}, environment, file)
    assert (configuration.host, sources["host"]) == ("option", "--host")
    assert (configuration.port, sources["port"]) == (2, "GRPC_PORT")
    assert (configuration.grace, sources["grace"]) == (1.0, f"grace in {file}")
    assert (configuration.workers, sources["workers"]) == (3, f"workers in {file}")
    assert (configuration.database, sources["database"]) == ("services.db", "default")


def test_nothing_given_is_the_default() -> None:
    assert load({}, {}).configuration == Configuration()


def test_the_variables_of_the_first_guide() -> None:
    environment = {
        "GRPC_HOST": "0.0.0.0",
        "GRPC_PORT": "50052",
        "SSL_ENABLED": "true",
        "SSL_CERT_PATH": "/path/to/server.crt",
        "SSL_KEY_PATH": "/path/to/server.key",
        "SSL_CA_PATH": "/path/to/ca.crt",
    }
    configuration = load({}, environment).configuration
    assert (configuration.host, configuration.port) == ("0.0.0.0", 50052)
    assert configuration.uses_tls
    assert configuration.wants_client_certificates
    assert configuration.tls_key == "/path/to/server.key"


@pytest.mark.parametrize(
    ("given", "uses_tls", "wants_client_certificates"),
    [
        ({}, False, False),
        ({"tls_certificate": "c", "tls_key": "k"}, True, False),
        ({"tls_certificate": "c", "tls_key": "k", "tls": False}, False, False),
        ({"tls_certificate": "c", "tls_key": "k", "tls_ca": "a"}, True, True),
        ({"tls_certificate": "c", "tls_key": "k", "tls_ca": "a", "tls_client_auth": False}, True, False),
    ],
)
def test_when_tls_is_used(given: dict[str, Any], uses_tls: bool, wants_client_certificates: bool) -> None:
    configuration = Configuration(**given)
    assert configuration.uses_tls is uses_tls
    assert configuration.wants_client_certificates is wants_client_certificates


@pytest.mark.parametrize(
    ("options", "environment", "content", "sentence"),
    [
        ({"port": "65536"}, {}, "", "--port must be a whole number from 0 to 65535, not '65536'"),
        ({}, {"GRPC_PORT": "http"}, "", "GRPC_PORT must be a whole number from 0 to 65535, not 'http'"),
        ({}, {}, "port = true", "port in {file} must be a whole number from 0 to 65535, not True"),
        ({}, {}, "port = 1.5", "port in {file} must be a whole number from 0 to 65535, not 1.5"),
        ({"grace": "-1"}, {}, "", "--grace must be a number of seconds, 0 or more, not '-1'"),
        ({"grace": "nan"}, {}, "", "--grace must be a number of seconds, 0 or more, not 'nan'"),
        ({}, {}, "grace = inf", "grace in {file} must be a number of seconds, 0 or more, not inf"),
        ({}, {"LOG_LEVEL": "loud"}, "", "LOG_LEVEL must be one of debug, info, warning, error, not 'loud'"),
        ({}, {"SSL_ENABLED": "maybe"}, "", "SSL_ENABLED must be on or off (true or false), not 'maybe'"),
        ({}, {}, 'services = ["user", "cat"]', "services in {file} must be some of "),
        ({}, {}, "services = []", "services in {file} must be some of "),
        ({"host": ""}, {}, "", "--host must be a name or an address, not ''"),
        ({}, {}, 'database = ""', "database in {file} must be a path or a URL, not ''"),
        ({}, {"GRPC_MAX_SEND_MESSAGE": "4T"}, "", "GRPC_MAX_SEND_MESSAGE must be a number of bytes below 2 GiB"),
        (
            {},
            {},
            "prot = 1",
            'there is no setting "prot", which the configuration file {file} has; did you mean "port"?',
        ),
        (
            {},
            {},
            "tls-key = 1",
            'no setting "tls-key", which the configuration file {file} has; did you mean "tls_key"?',
        ),
        ({}, {}, "zzzzzz = 1", 'there is no setting "zzzzzz", which the configuration file {file} has'),
        ({}, {}, "port 1", "the configuration file {file} is no TOML: "),
        ({"tls": True}, {}, "", "TLS needs tls_certificate; give it by --tls-certificate or SSL_CERT_PATH"),
        ({"tls_certificate": "c"}, {}, "", "TLS needs tls_key; give it by --tls-key or SSL_KEY_PATH"),
        (
            {"tls_certificate": "c", "tls_key": "k", "tls_client_auth": True},
            {},
            "",
            "clients must have a certificate, but tls_ca does not say who vouches for them; "
            "give it by --tls-ca or SSL_CA_PATH",
        ),
        ({}, {"AUTH_ROLES": "GetUser=admin"}, "", "AUTH_ROLES must be the roles of methods, such as "),
        ({}, {}, "rate_limits = 5", "rate_limits in {file} must be the rates of methods, such as "),
        ({"rate_limits": "*=0/5"}, {}, "", "--rate-limits must be the rates of methods, such as "),
        ({"auth_public": "health"}, {}, "", "--auth-public must be methods or `*` for all of a service"),
        (
            {"auth_roles": "*=x"},
            {},
            "",
            "auth_roles needs something to know callers by; give auth_keys, auth_tokens or ",
        ),
        ({"auth_certificates": True}, {}, "", "auth_certificates needs mutual TLS; give tls_certificate, tls_key and "),
        (
            {"database": ":memory:", "workers": "2"},
            {},
            "",
            "database must not be :memory: with 2 workers, as each would have one of its own; "
            "give it a file, or run one worker",
        ),
    ],
)
def test_what_is_wrong(
    tmp_path: Path, options: dict[str, object], environment: dict[str, str], content: str, sentence: str
) -> None:
    file = file_of(tmp_path, content) if content else ""
    with pytest.raises(SettingError) as raised:
        load(options, environment, file)
    assert sentence.format(file=file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_tables_of_methods(tmp_path: Path) -> None:
    content = '[auth_roles]\n"*" = ["user", "admin"]\n"/a.B/C" = "admin"\n[rate_limits]\n"/a.B/*" = "0.50/5"\n'
    in_file = load({"auth_keys": "k"}, {}, file_of(tmp_path, content))
    given = {"AUTH_ROLES": "*=user admin; /a.B/C=admin;", "RATE_LIMITS": " /a.B/* = 0.5/5 ", "JWT_KEYS_PATH": "k"}
    assert load({}, given).configuration == in_file.configuration
    assert in_file.configuration.auth_roles == (("*", ("user", "admin")), ("/a.B/C", ("admin",)))
    assert in_file.configuration.rate_limits == (("/a.B/*", "0.5/5"),)
    again = load({}, {}, file_of(tmp_path, "\n".join(in_file.as_toml())))
    assert again.configuration == in_file.configuration


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "missing.toml"
    with pytest.raises(SettingError, match=r"missing.toml cannot be read: No such file or directory$"):
        load({}, {}, str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(SettingError, match=r"missing.toml is no TOML: "):
        load({}, {}, str(path))


def test_a_program_gets_the_same_checks() -> None:
    with pytest.raises(SettingError, match=r"^port must be a whole number from 0 to 65535, not 65536$"):
        Configuration(port=65536)
    with pytest.raises(SettingError, match=r"^TLS needs tls_certificate"):
        Configuration(tls=True)
    assert Configuration(grace=5).grace == 5.0
    assert dataclasses.replace(Configuration(), services=("file",)).services == ("file",)


def test_what_is_printed_is_a_file_with_the_same_settings(tmp_path: Path) -> None:
    loaded = load({"tls_certificate": 'a "c"', "tls_key": "k", "services": "file,user"}, {"GRPC_PORT": "1"})
    lines = list(loaded.as_toml())
    assert "port = 1  # GRPC_PORT" in lines
    assert 'services = ["user", "file"]  # --services' in lines
    assert "# tls is not given" in lines
    again = load({}, {}, file_of(tmp_path, "\n".join(lines)))
    assert again.configuration == loaded.configuration
    assert tomllib.loads("\n".join(lines))["tls_certificate"] == 'a "c"'


def test_passwords_are_not_printed() -> None:
    loaded = load({"database": "postgresql://ann:s3cret/@x@localhost/users?sslpassword=s3cret"}, {})
    assert "s3cret" not in "\n".join(loaded.as_toml())
    assert 'database = "postgresql://ann:***@localhost/users?sslpassword=***"  # --database' in loaded.as_toml()


def test_each_setting_has_names_of_its_own() -> None:
    for names in ([each.environment for each in SETTINGS], [each.option for each in SETTINGS]):
        assert len(set(names)) == len(SETTINGS)
    assert BY_NAME["tls_key"].option == "--tls-key"
    assert not [each.name for each in SETTINGS if each.help.endswith(".")]
