"""Failures are grouped so that they fit on a terminal."""

from flag_pipeline.cli.failures import failure_lines, some_codes
from flag_pipeline.core.countries import iso_codes

URL = "http://127.0.0.1:8765"


def test_failures_of_one_reason_are_one_line() -> None:
    """The addresses of 249 countries differ in their code only, so one line has them all."""
    failed = {code: ("server_error", f"{URL}/{code.lower()}/{code.lower()}.gif answered 500") for code in iso_codes()}

    lines = failure_lines(failed)

    assert lines == [
        (
            "AD AE AF AG AI AL AM AO AQ AR AS AT and 237 more",
            f"server_error: {URL}/{{cc}}/{{cc}}.gif answered 500",
        )
    ]


def test_single_failure_keeps_its_address() -> None:
    """The address of a country that fails alone can be opened."""
    reason = f"{URL}/fr/metadata.json answered 500"

    assert failure_lines({"FR": ("server_error", reason)}) == [("FR", f"server_error: {reason}")]


def test_address_that_a_shared_reason_names_is_kept() -> None:
    """A reason that is the same for all countries is one group, although it has the code of one of them."""
    reason = f"the source does not have any of the 3 countries; try {URL}/cn/metadata.json"
    failed = dict.fromkeys(("CN", "FR", "US"), ("unavailable", reason))

    assert failure_lines(failed) == [("CN FR US", f"unavailable: {reason}")]


def test_few_reasons_are_shown_in_full() -> None:
    """The limit of a terminal is shared by the groups, so the end of a long reason is not lost without need."""
    reason = f"{'x' * 400} certificate verify failed"

    assert failure_lines({"FR": ("contract", reason)}) == [("FR", f"contract: {reason}")]


def test_code_in_a_word_is_not_replaced() -> None:
    """Only a code that stands alone in an address is the country's: folders and text with its letters stay."""
    failed = {code: ("timeout", f"{URL}/img/{code.lower()}.gif timed out, AI") for code in ("IM", "AI")}

    assert failure_lines(failed) == [("AI IM", f"timeout: {URL}/img/{{cc}}.gif timed out, AI")]


def test_many_reasons_fit_on_a_terminal() -> None:
    """When every country fails differently, the largest groups come first and the rest is counted in one line."""
    failed = {code: ("contract", f"{code} {'x' * 500}") for code in iso_codes()}
    failed |= dict.fromkeys(("CN", "FR"), ("timeout", "timed out"))

    lines = failure_lines(failed)

    assert lines[0] == ("CN FR", "timeout: timed out")
    assert lines[-1][1] == "failed for other reasons"
    assert "and" in lines[-1][0]
    assert sum(-(-len(f"{codes} {reason}") // 80) for codes, reason in lines) <= 30


def test_reasons_of_a_host_that_is_down_are_one_group() -> None:
    """The most frequent reason stands for all countries that were not asked after the host was found down."""
    failed = {"CN": ("source_down", "refused"), "FR": ("source_down", "not asked"), "US": ("source_down", "not asked")}

    assert failure_lines(failed) == [("CN FR US", "source_down: not asked")]


def test_codes_beyond_the_limit_are_counted() -> None:
    """A list within the limit is complete."""
    assert some_codes(["CN", "FR"], 2) == "CN FR"
    assert some_codes(["CN", "FR", "US"], 2) == "CN FR and 1 more"
