"""Everything a user may set, in one typed place: defaults, units, limits and `FLAG_*` names.

Each group of settings is also the typed configuration of the Dagster resource or the part of the core that
it belongs to, so a setting is declared once.
"""

import difflib
import logging
import os
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from flag_pipeline.addresses import aws_variable_with_secret, store_may_hold_secret
from flag_pipeline.core.countries import EXTRA_CODE, iso_codes
from flag_pipeline.core.presets import find_preset
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.fetching.redirect_hosts import parse_host
from flag_pipeline.fetching.secret_headers import read_headers
from flag_pipeline.images.structure import Limits
from flag_pipeline.stores.store import MAX_FILE_BYTES
from flag_pipeline.ui.same_origin import split_host

logger = logging.getLogger(__name__)

PREFIX = "FLAG_"
# Variables that are not fields of `Settings`.
_OTHER_VARIABLES = {"FLAG_HEADERS"}
# A name that has this much in common with a setting's name is taken for a mistyped one.
_NEARLY = 0.8


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(_split_commas)]


class SourceSettings(BaseModel):
    """Where flags come from, and how politely and how patiently they are asked for."""

    # pydantic's own messages quote the value, which may be a secret.
    model_config = ConfigDict(hide_input_in_errors=True)

    source: str = Field(
        "embedded",
        description="A preset (embedded, fluentpython, flagcdn) or the http(s) base URL of the book's layout.",
    )
    max_requests: int = Field(32, ge=1, le=512, description="Requests under way at once.")
    first_requests: int = Field(
        6,
        ge=1,
        le=512,
        description="Requests under way at first; one more with each answer on a connection that is kept open.",
    )
    requests_per_second: float | None = Field(
        None, gt=0, description="Requests a second, evenly spaced; unset means as fast as the source answers."
    )
    attempts: int = Field(4, ge=1, le=20, description="Requests for one file before giving up on it.")
    retry_initial_s: float = Field(0.2, gt=0, description="Seconds of back-off before the second attempt.")
    retry_max_s: float = Field(10.0, gt=0, description="Longest back-off between two attempts, in seconds.")
    retry_total_s: float = Field(
        60.0, gt=0, description="Seconds for all attempts at one file and the back-off between them."
    )
    retry_after_max_s: float = Field(
        30.0, gt=0, description="Longest Retry-After that is obeyed, in seconds; a longer one is cut to this."
    )
    timeout_s: float = Field(30.0, gt=0, description="Seconds for one attempt, body included.")
    connect_timeout_s: float = Field(5.0, gt=0, description="Seconds to open a connection.")
    read_timeout_s: float = Field(10.0, gt=0, description="Longest silence while reading, in seconds.")
    source_down_s: float = Field(
        2.0, gt=0, description="Seconds without any connection after which the source is down and all else fails."
    )
    sweep_timeout_s: float = Field(1800.0, gt=0, description="Seconds for all countries of a run together.")
    max_body_bytes: int = Field(1_048_576, ge=1024, le=MAX_FILE_BYTES, description="Largest decoded body, in bytes.")
    revalidate_days: float = Field(
        30.0,
        ge=0,
        description="Days after which a file without a strong ETag is fetched in full, whatever its date says.",
    )
    max_lost_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the stored flags that the source may suddenly lack, if more than 3, before a run fails.",
    )
    max_pixels: int = Field(4_000_000, ge=1, le=80_000_000, description="Largest image, in pixels over all its frames.")
    max_scans: int = Field(
        100, ge=1, le=10_000, description="Scans of a JPEG: each is a pass over all its pixels; usual files have 10."
    )
    max_frames: int = Field(500, ge=1, le=10_000, description="Frames of an animated image.")
    redirect_hosts: CommaSeparated = Field(
        default_factory=list,
        description="Where else the source may redirect to: `host` or `host:port`, separated by commas.",
    )
    source_is_public: bool = Field(
        False,
        description="Whether the source is on the internet, so that no private address is connected to for it.",
    )

    trust_proxy: bool = Field(
        False, description="Whether requests go through HTTP_PROXY and HTTPS_PROXY, unless NO_PROXY has the host."
    )
    user_agent: str | None = Field(
        None,
        pattern="^[ -~]{1,200}$",
        description="The User-Agent of requests; unset means flag-pipeline and its version.",
    )

    @field_validator("redirect_hosts")
    @classmethod
    def _hosts(cls, entries: list[str]) -> list[str]:
        for entry in entries:
            parse_host(entry)
        return entries

    @property
    def image_limits(self) -> Limits:
        """What an image may cost to decode."""
        return Limits(max_pixels=self.max_pixels, max_scans=self.max_scans, max_frames=self.max_frames)

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str) -> str:
        return _checked_source(value)


class StoreSettings(BaseModel):
    """Where files go."""

    model_config = ConfigDict(hide_input_in_errors=True)

    store: str = Field("data", description="A folder, or any URL that universal-pathlib opens.")
    history_keep: int = Field(10, ge=0, le=1000, description="Replaced flags that are kept of each country.")
    sink_threads: int = Field(4, ge=1, le=64, description="Threads that read and write files.")

    @field_validator("store")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return _checked_store(value)


class Settings(SourceSettings, StoreSettings, BaseSettings):
    """All settings, read from `FLAG_*` environment variables; an empty one counts as unset.

    Raises pydantic's ValidationError; `load_settings` turns it into a ConfigurationError.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, validate_default=True, hide_input_in_errors=True
    )

    _given: frozenset[str] = PrivateAttr(frozenset())

    allowed_sources: CommaSeparated = Field(
        default_factory=list,
        description="Sources that run configuration may name beside FLAG_SOURCE and the presets, separated by commas.",
    )
    allowed_stores: CommaSeparated = Field(
        default_factory=list,
        description=(
            "Stores that run configuration may name beside FLAG_STORE, with all below them, separated by commas."
        ),
    )
    extra_codes: CommaSeparated = Field(
        default_factory=list,
        description="Codes beyond ISO 3166-1 that are partitions too, separated by commas: XK,EU.",
    )
    max_partitions_per_run: int | None = Field(
        None, ge=1, description="Cut backfills into runs of at most this many countries; unset means one run."
    )

    heal_attempts: int = Field(5, ge=0, description="How often the healing sensor fetches a failed country again.")
    heal_delay_s: float = Field(
        60.0, gt=0, description="Seconds before the first healing attempt; they double from one to the next."
    )
    fresh_days: float = Field(3.0, gt=0, description="Days after which a country that was not fetched is too old.")
    max_changed_share: float = Field(
        0.05, gt=0, le=1, description="Share of flags that may change at once before the catalog's check fails."
    )
    ui_hosts: CommaSeparated = Field(
        default_factory=list,
        description="Hosts that the UI is reached by besides localhost, separated by commas, such as a proxy's name.",
    )

    debug: bool = Field(False, description="Show the traceback of an error instead of one line.")

    @field_validator("ui_hosts")
    @classmethod
    def _well_formed_hosts(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if split_host(host) is None or "*" in host:
                raise ValueError(
                    "an entry is not a host such as flags.example.org or flags.example.org:8443; it is not shown, "
                    "because it may hold a secret"
                )
        return hosts

    @property
    def given(self) -> frozenset[str]:
        """The names of the settings that were arguments of `load_settings`, such as the command line's options."""
        return self._given

    @field_validator("allowed_sources")
    @classmethod
    def _known_sources(cls, sources: list[str]) -> list[str]:
        return [_checked_source(source) for source in sources]

    @field_validator("allowed_stores")
    @classmethod
    def _absolute_stores(cls, stores: list[str]) -> list[str]:
        return [_checked_store(store) for store in stores]

    @field_validator("extra_codes")
    @classmethod
    def _well_formed(cls, codes: list[str]) -> list[str]:
        codes = [code.upper() for code in codes]
        for code in codes:
            if not EXTRA_CODE.fullmatch(code):
                raise ValueError(f"{code!r} is not a code: letters and digits, 2 to 8 of them")
        return codes


def _checked_source(source: str) -> str:
    try:
        find_preset(source)
    except ConfigurationError as exc:
        raise ValueError(str(exc)) from exc
    return source


def _checked_store(store: str) -> str:
    """Return the URL or the absolute path of *store*."""
    if not store.strip() or "\0" in store:
        raise ValueError("it is empty or has a null character; name a folder or a URL")
    if store_may_hold_secret(store):
        raise ValueError(
            "the address of a store is recorded with every run, so a URL must be scheme://host:port/path without user "
            "information, query or fragment; it is not shown here, because it may hold a secret; give credentials in "
            "the variables of the store's own client, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if "://" in store:
        return store
    try:
        return str(project_root() / Path(store).expanduser())
    except RuntimeError as exc:
        raise ValueError(f"{store} has no home folder; name an absolute path") from exc


def load_settings(**given: object) -> Settings:
    """Return the settings of the environment, with *given* ones on top.

    Raises ConfigurationError, one line that names the setting and what is wrong with it.
    """
    _check_environment()
    # A secret is no setting, but a mistake in it is reported here, before anything is fetched.
    read_headers()
    given = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        problem = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {problem}") from exc
    settings._given = frozenset(given)  # noqa: SLF001 - private to this module
    return settings


def _check_environment() -> None:
    """Raise ConfigurationError for a mistyped `FLAG_*` name and for a secret in an address; warn of unknown names."""
    if name := aws_variable_with_secret():
        raise ConfigurationError(
            f"{name}: it must be http(s)://host:port/path without user information, query or fragment; it is not shown "
            "here, because it may hold a secret; give credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    for name in sorted(name for name, value in os.environ.items() if value and name.upper().startswith(PREFIX)):
        if name.upper() in known:
            continue
        bare = {setting.removeprefix(PREFIX): setting for setting in known}
        if near := difflib.get_close_matches(name.upper().removeprefix(PREFIX), bare, n=1, cutoff=_NEARLY):
            raise ConfigurationError(f"{name} is not a setting; did you mean {bare[near[0]]}?")
        logger.warning("%s is not a setting of flag-pipeline; it is ignored", name)


def partition_codes(settings: Settings) -> list[str]:
    """ISO 3166-1 and the extra codes, less what the source is known to lack; sorted."""
    lacks = find_preset(settings.source).lacks
    return sorted({*iso_codes(), *settings.extra_codes} - lacks)


def project_root() -> Path:
    """The folder that relative paths start from: the checkout that this package lies in, else the current folder."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "workspace.yaml").is_file() else Path.cwd()


def workspace_file() -> Path:
    """Return the file that tells the UI what to load: the checkout's, else the one of this package."""
    in_project = project_root() / "workspace.yaml"
    return in_project if in_project.is_file() else Path(__file__).with_name("workspace.yaml")


def dagster_home() -> Path:
    """Return the folder of the persistent instance, made if need be, and have this process and its children use it.

    It is `DAGSTER_HOME` where that is set, else `dagster_home/`. The events by which a run announces its partitions
    are stored in batches, unless the environment says otherwise: one by one, they would cost as much as the fetching.

    Raises ConfigurationError where it is a relative path, which Dagster would not take, or no folder.
    """
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    home = Path(os.environ.get("DAGSTER_HOME") or project_root() / "dagster_home").expanduser()
    if not home.is_absolute():
        raise ConfigurationError(f"DAGSTER_HOME must be an absolute path: {home}")
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"DAGSTER_HOME must be a folder: {home} cannot be made ({exc.strerror})") from exc
    # Dagster expands `~`; what else reads the variable, our event log too, need not.
    os.environ["DAGSTER_HOME"] = str(home)
    return home
