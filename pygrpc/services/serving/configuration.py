"""The configuration of `pygrpc serve`: its settings, and where their values come from.

A field of Configuration is all that there is to a setting: its name, which is the key in a file too, its default, its
kind, its environment variable and its help. Its option is made of the name.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from pygrpc.services.serving.kinds import (
    HOST,
    METHODS,
    PATH,
    PLACE,
    PORT,
    RATES,
    ROLES,
    SIZE,
    SWITCH,
    TEXT,
    URL,
    choice,
    seconds,
    whole,
    words,
)
from pygrpc.services.serving.settings import Setting, SettingError, setting, setting_of

CONFIG_VARIABLE = "GRPC_CONFIG"
SERVICES = ("user", "chat", "file", "order")
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
_MANY = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """How to run the services; each field is documented where it is declared, and in docs/serving.md.

    Values are checked and brought into their kind when it is made.

    Raises:
        SettingError: A setting cannot be used.
    """

    # Where to listen.
    host: str = setting("127.0.0.1", HOST, "GRPC_HOST", "name or address to listen on; `0.0.0.0` or `::` for all")
    port: int = setting(50051, PORT, "GRPC_PORT", "port to listen on; 0 lets the system choose")
    workers: int = setting(1, whole(1, 256), "GRPC_WORKERS", "how many processes serve on the port")
    grace: float = setting(
        10.0, seconds(0), "GRPC_GRACE", "how long running calls may go on after SIGTERM or SIGINT, in seconds"
    )
    start_timeout: float = setting(
        30.0, seconds(0.01), "GRPC_START_TIMEOUT", "how long databases and the like may take to open, in seconds"
    )

    # What to serve, and where its data are.
    services: tuple[str, ...] = setting(SERVICES, words(*SERVICES), "GRPC_SERVICES", "which services to run")
    database: str = setting(
        "services.db",
        PLACE,
        "DATABASE_URL",
        "path of an SQLite file, `:memory:`, or `postgresql://USER:PASSWORD@HOST:PORT/NAME`",
    )
    files: str = setting(
        "files", PLACE, "FILES_URL", "folder of the files, made if there is none, or s3://BUCKET/PREFIX"
    )
    fanout: str = setting(
        "",
        URL,
        "REDIS_URL",
        "URL of the Redis server by which processes tell each other what is new: `redis://HOST:PORT`",
    )
    reflection: bool = setting(True, SWITCH, "GRPC_REFLECTION", "whether clients may ask what the server offers")

    # TLS.
    tls: bool | None = setting(
        None, SWITCH, "SSL_ENABLED", "whether to serve over TLS; if not given, it is on when `tls_certificate` is given"
    )
    tls_certificate: str = setting(
        "", PATH, "SSL_CERT_PATH", "PEM file of the server's certificate and those that lead to its root"
    )
    tls_key: str = setting("", PATH, "SSL_KEY_PATH", "PEM file of the private key of the certificate")
    tls_ca: str = setting("", PATH, "SSL_CA_PATH", "PEM file of the certificates that vouch for clients (mutual TLS)")
    tls_client_auth: bool | None = setting(
        None,
        SWITCH,
        "SSL_CLIENT_AUTH",
        "whether clients must have a certificate; if not given, it is on when `tls_ca` is given",
    )

    # Who may call what, and how often.
    auth_keys: str = setting(
        "",
        PATH,
        "JWT_KEYS_PATH",
        "file of the keys that sign JSON Web Tokens, a JWK set or PEM; turns authentication on",
    )
    auth_algorithms: tuple[str, ...] = setting(
        ALGORITHMS, words(*ALGORITHMS), "JWT_ALGORITHMS", "which algorithms may sign the tokens"
    )
    auth_audience: str = setting("", TEXT, "JWT_AUDIENCE", "what the claim `aud` of the tokens must be")
    auth_issuer: str = setting("", TEXT, "JWT_ISSUER", "what the claim `iss` of the tokens must be")
    auth_tokens: str = setting(
        "",
        PATH,
        "AUTH_TOKENS_PATH",
        "JSON file of bearer tokens, each with `sha256`, `name` and `roles`; turns authentication on",
    )
    auth_certificates: bool = setting(
        False, SWITCH, "AUTH_CERTIFICATES", "whether clients are also known by their certificates (mutual TLS)"
    )
    auth_roles: tuple[tuple[str, tuple[str, ...]], ...] = setting(
        (), ROLES, "AUTH_ROLES", "the roles of which a caller needs one, by method; without it, who is known may do all"
    )
    auth_public: tuple[str, ...] = setting(
        ("/grpc.health.v1.Health/*",), METHODS, "AUTH_PUBLIC", "the methods that anybody may call"
    )
    rate_limits: tuple[tuple[str, str], ...] = setting(
        (),
        RATES,
        "RATE_LIMITS",
        "how often each client may call, by method: `RATE/BURST`, calls in a second and at once",
    )

    # Limits and keepalive.
    max_receive_message: int = setting(
        4 << 20, SIZE, "GRPC_MAX_RECEIVE_MESSAGE", "the largest message to accept, in bytes"
    )
    max_send_message: int = setting(4 << 20, SIZE, "GRPC_MAX_SEND_MESSAGE", "the largest message to send, in bytes")
    max_calls: int = setting(
        10_000,
        whole(0, _MANY),
        "GRPC_MAX_CALLS",
        "how many calls a process takes at a time, the others are RESOURCE_EXHAUSTED; 0 for any number",
    )
    max_calls_per_connection: int = setting(
        1000,
        whole(0, _MANY),
        "GRPC_MAX_CALLS_PER_CONNECTION",
        "how many calls a client may have at a time on a connection, the others wait; 0 for any number",
    )
    max_connections: int = setting(
        10_000,
        whole(0, _MANY),
        "GRPC_MAX_CONNECTIONS",
        "how many connections a process has at a time; 0 for any number",
    )
    max_connection_age: float = setting(
        0.0,
        seconds(0),
        "GRPC_MAX_CONNECTION_AGE",
        "after how many seconds a client has to connect again, maybe to another process; 0 for never",
    )
    max_connection_idle: float = setting(
        0.0,
        seconds(0),
        "GRPC_MAX_CONNECTION_IDLE",
        "after how many seconds without calls a connection ends; 0 for never",
    )
    keepalive_time: float = setting(
        30.0,
        seconds(0),
        "GRPC_KEEPALIVE_TIME",
        "after how many silent seconds a client is asked for a sign; 0 for never",
    )
    keepalive_timeout: float = setting(
        20.0, seconds(0.001), "GRPC_KEEPALIVE_TIMEOUT", "how long the client may take to answer that, in seconds"
    )
    keepalive_least_interval: float = setting(
        10.0, seconds(0), "GRPC_KEEPALIVE_LEAST_INTERVAL", "how often a client may ask, at most once in so many seconds"
    )

    cache_time: float = setting(
        0.0,
        seconds(0),
        "CACHE_TIME",
        "how long answers that only read are kept, in seconds, also when other processes write; 0 for never",
    )

    # Watching it.
    health_interval: float = setting(
        5.0, seconds(0.01), "GRPC_HEALTH_INTERVAL", "how often what the services need is checked, in seconds"
    )
    health_timeout: float = setting(
        2.0, seconds(0.01), "GRPC_HEALTH_TIMEOUT", "how long a check may take before it counts as failed, in seconds"
    )
    metrics: bool = setting(
        False, SWITCH, "MONITORING_ENABLED", "whether to count calls, for Prometheus at `/metrics` and for the log"
    )
    metrics_host: str = setting("127.0.0.1", HOST, "METRICS_HOST", "name or address to serve the metrics on")
    metrics_port: int = setting(9464, PORT, "METRICS_PORT", "port to serve the metrics on; 0 lets the system choose")
    metrics_interval_ms: int = setting(
        60_000,
        whole(0, 86_400_000),
        "MONITORING_INTERVAL",
        "how often a summary of the metrics is logged, in milliseconds; 0 for never",
    )
    request_ids: bool | None = setting(
        None,
        SWITCH,
        "REQUEST_IDS",
        "whether calls have an id, the client's `x-request-id` or a new one; if not given, on when `log_calls` is",
    )
    log_calls: bool = setting(False, SWITCH, "LOG_CALLS", "whether to log each call when it is over")
    log_format: str = setting("text", choice("text", "json"), "LOG_FORMAT", "how log lines look: `text` or `json`")
    log_level: str = setting(
        "info",
        choice("debug", "info", "warning", "error"),
        "LOG_LEVEL",
        "the least important messages to log on standard error: `debug`, `info`, `warning` or `error`",
    )

    def __post_init__(self) -> None:
        """Brings each value into its kind, and checks those that have to fit each other."""
        for each in SETTINGS:
            value = getattr(self, each.name)
            if value is not None or each.default is not None:
                object.__setattr__(self, each.name, each.read(value, each.name))
        self._check_tls()
        self._check_authentication()
        if self.workers > 1 and ":memory:" in self.database:
            raise SettingError(
                f"database must not be {self.database} with {self.workers} workers, as each would have one of its own; "
                "give it a file, or run one worker"
            )

    def _check_tls(self) -> None:
        if not self.uses_tls:
            return
        for name in ("tls_certificate", "tls_key"):
            if not getattr(self, name):
                named = BY_NAME[name]
                raise SettingError(f"TLS needs {name}; give it by {named.option} or {named.environment}")
        if self.tls_client_auth and not self.tls_ca:
            named = BY_NAME["tls_ca"]
            raise SettingError(
                f"clients must have a certificate, but tls_ca does not say who vouches for them; give it by "
                f"{named.option} or {named.environment}"
            )

    def _check_authentication(self) -> None:
        if self.auth_certificates and not (self.uses_tls and self.wants_client_certificates):
            raise SettingError("auth_certificates needs mutual TLS; give tls_certificate, tls_key and tls_ca")
        if self.auth_roles and not self.authenticates:
            raise SettingError(
                "auth_roles needs something to know callers by; give auth_keys, auth_tokens or auth_certificates"
            )

    @property
    def authenticates(self) -> bool:
        """Whether callers have to say who they are."""
        return bool(self.auth_keys or self.auth_tokens or self.auth_certificates)

    @property
    def uses_tls(self) -> bool:
        """Whether to serve over TLS."""
        return bool(self.tls_certificate) if self.tls is None else self.tls

    @property
    def gives_request_ids(self) -> bool:
        """Whether calls have an id."""
        return self.log_calls if self.request_ids is None else self.request_ids

    @property
    def wants_client_certificates(self) -> bool:
        """Whether clients must present a certificate."""
        return bool(self.tls_ca) if self.tls_client_auth is None else self.tls_client_auth


#: All settings, in their order.
SETTINGS: tuple[Setting, ...] = tuple(map(setting_of, fields(Configuration)))
BY_NAME: Mapping[str, Setting] = {each.name: each for each in SETTINGS}


class Loaded(NamedTuple):
    """A configuration, and where each value came from: an option, a variable, a file, or "default"."""

    configuration: Configuration
    sources: Mapping[str, str]

    def as_toml(self) -> Iterator[str]:
        """Writes the configuration as the lines of a file, without what is secret."""
        for each in SETTINGS:
            shown = each.shown(getattr(self.configuration, each.name))
            line = f"{each.name} = {shown}" if shown else f"# {each.name} is not given"
            yield f"{line}  # {self.sources[each.name]}" if shown else line


def load(options: Mapping[str, object], environment: Mapping[str, str], file: str = "") -> Loaded:
    """Collects the settings: options before environment variables, these before the file, and that before defaults.

    An environment variable that is empty counts as one that is not there.

    Args:
        options: The values of options that were given, by the name of the setting.
        environment: The environment variables.
        file: The path of a TOML file; none if it is empty.

    Raises:
        SettingError: A setting cannot be used, or the file cannot be read.
    """
    in_file = _read_file(file) if file else {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for each in SETTINGS:
        if each.name in options:
            source, given = each.option, options[each.name]
        elif environment.get(each.environment):
            source, given = each.environment, environment[each.environment]
        elif each.name in in_file:
            source, given = f"{each.name} in {file}", in_file[each.name]
        else:
            sources[each.name] = "default"
            continue
        values[each.name] = each.read(given, source)
        sources[each.name] = source
    return Loaded(Configuration(**values), sources)


def _read_file(path: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingError(f"the configuration file {path} is no TOML: {error}") from None
    for key in content:
        if key not in BY_NAME:
            close = difflib.get_close_matches(key.replace("-", "_").lower(), BY_NAME, n=1, cutoff=0.4)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            raise SettingError(f'there is no setting "{key}", which the configuration file {path} has{hint}')
    return content
