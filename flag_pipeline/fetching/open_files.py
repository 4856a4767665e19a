"""Limit of open files: how many requests fit, and which errors report it."""

import errno
import logging
import resource
from pathlib import Path

logger = logging.getLogger(__name__)

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EIO})
# For the store, Dagster's databases and name lookups.
_RESERVED = 24


def is_local_error(error: BaseException) -> bool:
    """Whether this computer lacks files, memory or a working disk."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in _EXHAUSTED


def limit_requests(max_requests: int, *, files_per_request: int) -> int:
    """Return how many of *max_requests* fit, at least one.

    Raises the soft limit if necessary. Blocks.
    """
    n_in_use = sum(1 for _ in Path("/dev/fd").iterdir())
    n_wanted = n_in_use + _RESERVED + max_requests * files_per_request
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= n_wanted:
        return max_requests
    allowed = n_wanted if hard == resource.RLIM_INFINITY else min(n_wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):
        # macOS has a lower limit.
        allowed = soft
    if allowed == n_wanted:
        return max_requests
    n_requests = max(1, (allowed - n_in_use - _RESERVED) // files_per_request)
    logger.warning(
        "FLAG_MAX_REQUESTS is %d, but this process may open %d files only: %d requests at once. For more: ulimit -n %d",
        max_requests,
        allowed,
        n_requests,
        n_wanted,
    )
    return n_requests
