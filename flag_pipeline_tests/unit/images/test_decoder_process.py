"""The program that makes calls for the decoder, run in the test's own process."""

import operator
import pickle
from functools import partial

from flag_pipeline.errors import ImageError
from flag_pipeline.images.decoder_process import answer
from flag_pipeline.images.inspection import inspect_image
from flag_pipeline.images.structure import Limits
from flag_pipeline.workers import Failed


def test_each_call_has_a_result_or_its_exception() -> None:
    """Only a fault of ours has a traceback: a damaged image is its own reason."""
    calls = [
        partial(operator.add, 1, 1),
        partial(inspect_image, b"damaged", formats=["gif"], limits=Limits()),
        partial(operator.floordiv, 1, 0),
    ]

    total, damaged, fault = pickle.loads(answer(pickle.dumps(calls)))  # noqa: S301 - our own

    assert total == 2
    assert isinstance(damaged, Failed)
    assert isinstance(damaged.error, ImageError)
    assert not hasattr(damaged.error, "__notes__")
    assert isinstance(fault, Failed)
    assert "ZeroDivisionError" in fault.error.__notes__[0]
