"""Failed countries as lines for a terminal, by kind and reason."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from flag_pipeline.errors import ErrorKind

# Then any run's lines fit on a terminal of 80 x 40.
SHOWN_REASONS, SHOWN_CODES, MAX_CHARS = 8, 12, 1440
_URL = re.compile(r"https?://\S+")


def failure_lines(failed: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the largest groups' codes, and kind with reason; *failed* has both by code."""
    groups = sorted(_group(failed).items(), key=lambda group: (-len(group[1]), group[1]))
    shown = groups if len(groups) <= SHOWN_REASONS else groups[: SHOWN_REASONS - 1]
    width = MAX_CHARS // max(1, len(shown))
    lines = []
    for (kind, general), codes in shown:
        reason = failed[codes[0]][1] if len(codes) == 1 else general
        lines.append((some_codes(codes), f"{kind}: {reason if len(reason) <= width else f'{reason[: width - 1]}…'}"))
    if rest := [code for _, codes in groups[len(shown) :] for code in codes]:
        lines.append((some_codes(sorted(rest)), "failed for other reasons"))
    return lines


def some_codes(codes: Sequence[str], most: int = SHOWN_CODES) -> str:
    """Return the first codes, and how many more."""
    more = f" and {len(codes) - most} more" if len(codes) > most else ""
    return f"{' '.join(codes[:most])}{more}"


def _group(failed: Mapping[str, tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    # An unreachable host's countries are one group.
    down = Counter(reason for kind, reason in failed.values() if kind == ErrorKind.SOURCE_DOWN).most_common(1)
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    n_of_reason = Counter(failed.values())
    for code, (kind, reason) in sorted(failed.items()):
        general = reason if n_of_reason[kind, reason] > 1 else _without_code(reason, code)
        if kind == ErrorKind.SOURCE_DOWN:
            general = down[0][0]
        groups[kind, general].append(code)
    return groups


def _without_code(reason: str, code: str) -> str:
    """Replace the country's code in addresses by {cc}."""
    own = re.compile(rf"(?<![A-Za-z0-9]){re.escape(code)}(?![A-Za-z0-9])", re.IGNORECASE)
    return _URL.sub(lambda url: own.sub("{cc}", url.group()), reason)
