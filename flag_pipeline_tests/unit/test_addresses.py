"""Addresses: hosts with ports, and which addresses may hold a secret."""

import pytest

from flag_pipeline.addresses import aws_variable_with_secret, may_hold_secret, split_host, store_may_hold_secret

WITH_SECRET = [
    "https://user:hunter2@x",
    "https://hunter2@x/flags",
    "https//user:hunter2@x",
    "https:/user:hunter2@x",
    "//user:hunter2@x",
    "user:hunter2@x",
    "s3://user:hunter2",
    "ftp://user:hun/ter2@x",
    "ftp://user:hun#ter2@x",
    "ftp://user:hun?ter2@x",
    "ftp://user:hun ter2@x",
    "https://user%3Ahunter2%40x",
    "https://x?token=hunter2",
    "https://x/flags#hunter2",
    "https://x/https://user:hunter2@y",
    "simplecache::s3://user:hunter2@bucket",
    r"https://x\@hunter2",
]
PLAIN = [
    *("https://x", "http://127.0.0.1:8000/flags/", "http://[::1]:80/x", "s3://bucket/a@b", "s3:///x", "memory://x"),
    *("https://cdn.example/npm/flags@6/gif", "zip://x.zip::s3://bucket/x", "file:///srv/a@b", "embedded", "x:8333"),
]


@pytest.mark.parametrize("address", WITH_SECRET)
def test_address_with_a_secret_is_recognised(address: str) -> None:
    """User information, queries and fragments are found, also where the address was mistyped around them."""
    assert may_hold_secret(address)
    assert store_may_hold_secret(address)


@pytest.mark.parametrize("address", PLAIN)
def test_plain_address_is_not_suspected(address: str) -> None:
    """A scheme, a host, a port and a path hold no secret."""
    assert not may_hold_secret(address)
    assert not store_may_hold_secret(address)


@pytest.mark.parametrize("folder", ["/srv/me@home:2/x?", "./a:b@c", "~/a@b", "flags #2", "100%"])
def test_folder_may_have_any_name(folder: str) -> None:
    """What a URL must not have is fine in the name of a folder."""
    assert not store_may_hold_secret(folder)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "aws_endpoint_url_s3", "AWS_PROXY_URL"])
def test_variable_of_the_bucket_client_with_a_secret_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every variable that obstore reads an address from is looked at, and only its name is returned."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a:b@c")
    assert aws_variable_with_secret() is None

    monkeypatch.setenv(name, "http://user:hunter2@127.0.0.1:8333")

    assert aws_variable_with_secret() == name


def test_host_with_port() -> None:
    """A host is a name or an address in brackets, in any case, with or without a valid port."""
    assert split_host("[::1]:80") == ("[::1]", 80)
    assert split_host("A") == ("a", None)
    assert split_host("a:b") is None
    assert split_host("a:65536") is None
