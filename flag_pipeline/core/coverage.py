"""Coverage survey: requests every flag to learn which countries a source has."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from string import ascii_uppercase

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.flag_source import FlagSource
from flag_pipeline.errors import FlagNotFoundError, ImageError, SourceError
from flag_pipeline.fetching.client import FetchCounter
from flag_pipeline.fetching.models import Validators
from flag_pipeline.images.decoder import Decoder
from flag_pipeline.images.inspection import inspect_image


@dataclass(frozen=True, slots=True)
class Coverage:
    """The result of a survey, with sorted codes.

    Attributes:
        has_not: codes without a flag (404, 410).
        unknown: why a request failed, by code.
    """

    has: list[str] = field(default_factory=list)
    has_not: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def lacks(self) -> list[str]:
        """Missing codes of ISO 3166-1."""
        return [code for code in self.has_not if code in iso_codes()]

    @property
    def beyond(self) -> list[str]:
        """Present codes that are not in ISO 3166-1."""
        return [code for code in self.has if code not in iso_codes()]


def codes_to_ask(*, every: bool) -> list[str]:
    """Return ISO 3166-1, or *every* pair of letters."""
    return ["".join(pair) for pair in product(ascii_uppercase, repeat=2)] if every else list(iso_codes())


async def survey(source: FlagSource, codes: Iterable[str], *, timeout_s: float) -> Coverage:
    """Request each flag; codes unanswered after *timeout_s* are unknown."""
    wanted = list(codes)
    answers: dict[str, bool | str] = {}

    async def ask(code: str) -> None:
        url = source.preset.flag_url(code)
        try:
            answer = await source.fetch(url, code=code, known=Validators(), counter=FetchCounter())
            # Some servers answer 200 with an HTML page instead of 404.
            inspect = partial(
                inspect_image,
                answer.content or b"",
                formats=source.preset.formats,
                limits=source.settings.image_limits,
            )
            await decoder.run(inspect)
            answers[code] = True
        except FlagNotFoundError:
            answers[code] = False
        except (SourceError, ImageError) as exc:
            answers[code] = str(exc)

    try:
        with Decoder() as decoder:
            async with asyncio.timeout(timeout_s):
                todo = {*wanted}
                while todo:
                    async with asyncio.TaskGroup() as group:
                        for code in todo:
                            group.create_task(ask(code), name=f"coverage-{code}")
                    await source.connections.wait_for_late_answers()
                    todo = source.connections.doubtful_codes()
                    source.connections.clear_doubts(todo)
    except TimeoutError:
        answers = {code: answers.get(code, f"not answered after {timeout_s:g} s") for code in wanted}
    return Coverage(
        has=sorted(code for code, answer in answers.items() if answer is True),
        has_not=sorted(code for code, answer in answers.items() if answer is False),
        unknown={code: answer for code, answer in sorted(answers.items()) if isinstance(answer, str)},
    )
