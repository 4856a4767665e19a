"""Pydantic types of the image formats and image paths in records and tables."""

from typing import Annotated

from pydantic import StringConstraints

from flag_pipeline.bounds import CODE_PATTERN, SHA256_PATTERN
from flag_pipeline.core.layout import FLAGS, FORBIDDEN_PATTERN, HISTORY
from flag_pipeline.images.formats import FORMATS

_FORMAT = "|".join(FORMATS)
_EXTENSION = f"(?:{'|'.join(image_format.extension for image_format in FORMATS.values())})"
_FLAG_FILE = rf"{FLAGS}/{CODE_PATTERN}-[^{FORBIDDEN_PATTERN}]*\.{_EXTENSION}"

FlagFile = Annotated[str, StringConstraints(max_length=300, pattern=f"^{_FLAG_FILE}$")]
HistoryFile = Annotated[
    str, StringConstraints(pattern=rf"^(?:{HISTORY}/{CODE_PATTERN}/{SHA256_PATTERN}\.{_EXTENSION})?$")
]
ImageFormat = Annotated[str, StringConstraints(pattern=f"^(?:{_FORMAT})$")]

# Catalog cells are empty if the value is unknown.
FlagFileOrEmpty = Annotated[str, StringConstraints(max_length=300, pattern=f"^(?:{_FLAG_FILE})?$")]
ImageFormatOrEmpty = Annotated[str, StringConstraints(pattern=f"^(?:{_FORMAT})?$")]
