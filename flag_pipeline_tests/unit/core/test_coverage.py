"""The coverage survey."""

import asyncio
from typing import Any

from flag_pipeline.core.coverage import Coverage, codes_to_ask, survey
from flag_pipeline.errors import FlagNotFoundError, SourceContractError
from flag_pipeline.fetching.client import Answer
from flag_pipeline_tests.fakes import FakeSource
from flag_pipeline_tests.samples import gif


class HalfSilentSource(FakeSource):
    """Answers requests for CN, and no others."""

    async def fetch(self, url: str, **rest: Any) -> Answer:
        """Answer for CN, and wait forever for all others."""
        if "/cn/" not in url:
            await asyncio.Event().wait()
        return await super().fetch(url, **rest)


class SwappingSource(FakeSource):
    """Answers the first request for FR with the 404 of another request."""

    async def fetch(self, url: str, **rest: Any) -> Answer:
        """Return the wrong answer once."""
        if "fr/fr.gif" not in self.asked_for and "/fr/" in url:
            self.connections.doubtful.add("FR")
            self.asked_for.append("fr/fr.gif")
            raise FlagNotFoundError("404", code="FR", url=url)
        return await super().fetch(url, **rest)


def test_answers_in_doubt_are_asked_for_again() -> None:
    """The second answer counts."""
    source = SwappingSource({"cn/cn.gif": gif(), "fr/fr.gif": gif("FR")})

    found = asyncio.run(survey(source, ["CN", "FR"], timeout_s=60))  # type: ignore[arg-type]

    assert found == Coverage(has=["CN", "FR"])
    assert sorted(source.asked_for) == ["cn/cn.gif", "fr/fr.gif", "fr/fr.gif"]


def test_answers_are_told_apart() -> None:
    """Flags, missing flags and failures are distinguished; a missing code outside ISO 3166-1 is not lacking."""
    missing = FlagNotFoundError("404", code="AQ", url="")
    broken = SourceContractError("teapot", code="FR", url="")
    source = FakeSource(
        {"cn/cn.gif": gif(), "aq/aq.gif": missing, "fr/fr.gif": broken, "xk/xk.gif": gif(), "zz/zz.gif": missing}
    )

    found = asyncio.run(survey(source, ["ZZ", "XK", "FR", "CN", "AQ"], timeout_s=60))  # type: ignore[arg-type]

    assert found == Coverage(has=["CN", "XK"], has_not=["AQ", "ZZ"], unknown={"FR": "teapot"})
    assert (found.lacks, found.beyond) == (["AQ"], ["XK"])


def test_a_page_is_no_flag() -> None:
    """Some servers answer 200 with a page for missing files, so the flag is unknown."""
    source = FakeSource({"cn/cn.gif": gif(), "zz/zz.gif": b"<html>Not found</html>"})

    found = asyncio.run(survey(source, ["CN", "ZZ"], timeout_s=60))  # type: ignore[arg-type]

    assert found.has == ["CN"]
    assert list(found.unknown) == ["ZZ"]
    assert found.unknown["ZZ"].startswith("not a whole image")


def test_a_deadline_leaves_the_rest_unknown() -> None:
    """Answers before the deadline count."""
    source = HalfSilentSource({"cn/cn.gif": gif()})

    found = asyncio.run(survey(source, ["CN", "FR"], timeout_s=2.5))  # type: ignore[arg-type]

    assert found == Coverage(has=["CN"], unknown={"FR": "not answered after 2.5 s"})


def test_every_pair_includes_the_standard() -> None:
    """There are 676 pairs, and they include the 249 countries."""
    assert len(codes_to_ask(every=True)) == 676
    assert set(codes_to_ask(every=False)) < set(codes_to_ask(every=True))
