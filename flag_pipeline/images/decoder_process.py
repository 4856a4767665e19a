"""The process that makes calls for `decoder`, which decode images."""

import pickle
import sys
import traceback

from flag_pipeline.errors import FlagPipelineError
from flag_pipeline.images import inspection  # noqa: F401 - while the first image is fetched
from flag_pipeline.images.child_process import serve
from flag_pipeline.workers import Failed, attempt


def answer(request: bytes) -> bytes:
    """Make each of the pickled calls; return what `attempt` returned for them, pickled."""
    return pickle.dumps([_with_traceback(attempt(call)) for call in pickle.loads(request)])  # noqa: S301 - our parent's


def _with_traceback(result: object) -> object:
    # Pickling drops it.
    if isinstance(result, Failed) and not isinstance(result.error, FlagPipelineError):
        result.error.add_note("".join(traceback.format_exception(result.error)))
    return result


if __name__ == "__main__":  # pragma: no cover - the tests run it as a process
    serve(answer, sys.stdin.buffer, sys.stdout.buffer)
