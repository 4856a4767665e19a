"""All settings: `FLAG_*` environment variables with defaults, units and limits.

Those of a source are in `core/config.py`, those of HTTP in `fetching/config.py`.
"""

import difflib
import logging
import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from flag_pipeline.addresses import aws_variable_with_secret, split_host, store_may_hold_secret
from flag_pipeline.core.config import DerivedSettings, ExtraCode, Source, SourceSettings
from flag_pipeline.errors import ConfigurationError
from flag_pipeline.fetching.config import CommaSeparated
from flag_pipeline.fetching.secret_headers import HEADERS_VARIABLE, read_headers

logger = logging.getLogger(__name__)

PREFIX = "FLAG_"
# A name this similar to a setting is an error, any other a warning.
_MISTYPED_SIMILARITY = 0.8


def project_root() -> Path:
    """Return the folder of relative paths: the checkout, or the current folder."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "workspace.yaml").is_file() else Path.cwd()


def _absolute_store(store: str) -> str:
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


Store = Annotated[str, AfterValidator(_absolute_store)]

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _age(text: str) -> timedelta:
    if match := re.fullmatch(r"([1-9][0-9]{0,3})([hdw])", text.strip()):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    raise ValueError("it is not an age such as 90d, 12w or 36h")


def _checked_age(text: str) -> str:
    _age(text)
    return text.strip()


Age = Annotated[str, AfterValidator(_checked_age)]


class StoreSettings(BaseModel):
    """Where files are stored."""

    model_config = ConfigDict(hide_input_in_errors=True)

    store: Store = Field("data", description="A folder, or any URL that universal-pathlib opens.")
    history_keep: int = Field(10, ge=0, le=1000, description="Replaced flags that are kept of each country.")
    sink_threads: int = Field(16, ge=1, le=64, description="The most threads that read and write files.")


class Settings(SourceSettings, StoreSettings, DerivedSettings, BaseSettings):
    """All settings. Use `load_settings`, which translates pydantic's errors."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, validate_default=True, hide_input_in_errors=True
    )

    _given: frozenset[str] = PrivateAttr(frozenset())

    allowed_sources: CommaSeparated[Source] = Field(
        default_factory=list,
        description="Sources that run configuration may name beside FLAG_SOURCE and the presets, separated by commas.",
    )
    allowed_stores: CommaSeparated[Store] = Field(
        default_factory=list,
        description=(
            "Stores that run configuration may name beside FLAG_STORE, with all below them, separated by commas."
        ),
    )
    extra_codes: CommaSeparated[ExtraCode] = Field(
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
    prune_older_than: Age = Field(
        "90d", description="Age of the runs that `flag-pipeline prune` and the job `prune_runs` delete: 90d, 12w, 36h."
    )
    ui_hosts: CommaSeparated[str] = Field(
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
    def prune_age(self) -> timedelta:
        """`prune_older_than` as a duration."""
        return _age(self.prune_older_than)

    @property
    def given(self) -> frozenset[str]:
        """Names of the arguments of `load_settings`."""
        return self._given


def load_settings(**given: object) -> Settings:
    """Return the environment's settings, overridden by those in *given* that are not None.

    Raises ConfigurationError.
    """
    _check_environment()
    # Reports mistakes before anything is fetched.
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
    """Raise ConfigurationError for mistyped names and secrets in addresses; warn of unknown names."""
    if name := aws_variable_with_secret():
        raise ConfigurationError(
            f"{name}: it must be http(s)://host:port/path without user information, query or fragment; it is not shown "
            "here, because it may hold a secret; give credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {HEADERS_VARIABLE}
    for name in sorted(name for name, value in os.environ.items() if value and name.upper().startswith(PREFIX)):
        if name.upper() in known:
            continue
        bare = {setting.removeprefix(PREFIX): setting for setting in known}
        if near := difflib.get_close_matches(name.upper().removeprefix(PREFIX), bare, n=1, cutoff=_MISTYPED_SIMILARITY):
            raise ConfigurationError(f"{name} is not a setting; did you mean {bare[near[0]]}?")
        logger.warning("%s is not a setting of flag-pipeline; it is ignored", name)


def partition_codes(settings: Settings) -> list[str]:
    """Return the codes of all partitions, sorted."""
    return settings.codes(settings.extra_codes)


def workspace_file() -> Path:
    """Return the workspace file of the checkout, else of this package."""
    in_project = project_root() / "workspace.yaml"
    return in_project if in_project.is_file() else Path(__file__).with_name("workspace.yaml")


def use_dagster_home(*, make: bool = True) -> Path:
    """Set `DAGSTER_HOME` to the folder of the persistent instance, and return it.

    The folder is made unless *make* is False. Partition events are stored in batches unless the environment says
    otherwise, because one by one they would cost as much as fetching.

    Raises ConfigurationError if it is a relative path or no folder.
    """
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
    home = Path(os.environ.get("DAGSTER_HOME") or project_root() / "dagster_home").expanduser()
    if not home.is_absolute():
        raise ConfigurationError(f"DAGSTER_HOME must be an absolute path: {home}")
    try:
        if make:
            home.mkdir(parents=True, exist_ok=True)
        else:
            with suppress(FileNotFoundError):
                os.scandir(home).close()
    except OSError as exc:
        raise ConfigurationError(f"DAGSTER_HOME must be a folder: {home} cannot be made ({exc.strerror})") from exc
    # Dagster expands `~`; other readers, such as our event log, may not.
    os.environ["DAGSTER_HOME"] = str(home)
    return home
