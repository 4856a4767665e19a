"""HTTP settings: requests, retries, time-outs, body size, redirects, proxy, User-Agent."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from flag_pipeline.addresses import parse_host

# Larger files could not be stored.
LARGEST_BODY_BYTES = 64 * 1024 * 1024


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


T = TypeVar("T")
CommaSeparated = Annotated[list[T], NoDecode, BeforeValidator(_split_commas)]


class HttpSettings(BaseModel):
    """How a source is requested."""

    # pydantic's own messages quote the value, which may be a secret.
    model_config = ConfigDict(hide_input_in_errors=True)

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
    max_body_bytes: int = Field(
        1_048_576, ge=1024, le=LARGEST_BODY_BYTES, description="Largest decoded body, in bytes."
    )
    redirect_hosts: CommaSeparated[str] = Field(
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
    def _are_hosts(cls, entries: list[str]) -> list[str]:
        for entry in entries:
            parse_host(entry)
        return entries
