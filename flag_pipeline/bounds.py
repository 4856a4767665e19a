"""Types of stored values, which pydantic checks when records and tables are read.

Each type accepts all values that this version or an earlier one wrote.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, GetPydanticSchema, StringConstraints
from pydantic_core import core_schema

# The formats of flags, as Pillow names them, and their file extensions.
EXTENSIONS = {"gif": "gif", "png": "png", "jpeg": "jpg", "webp": "webp"}
MAX_REASON_CHARS = 10_000

_CODE, _SHA256, _EXTENSION = "[A-Z0-9]{2,8}", "[0-9a-f]{64}", f"(?:{'|'.join(EXTENSIONS.values())})"
_FLAG_FILE = rf'flags/{_CODE}-[^<>:"/\\|?*\x00-\x1f\x7f]*\.{_EXTENSION}'

# No control characters: they would steer a terminal, or break a line.
Line = Annotated[str, StringConstraints(max_length=2 * MAX_REASON_CHARS, pattern=r"^\P{Cc}*$")]
Code = Annotated[str, StringConstraints(pattern=f"^{_CODE}$")]
# Only the two joiners, with which some scripts are spelled, of the format characters; see `countries`.
Name = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[^\p{Cc}\p{Co}\p{Zl}\p{Zp}[\p{Cf}--[\u200c\u200d]]]+$"),
]
Alpha3 = Annotated[str, StringConstraints(pattern="^(?:[A-Z]{3})?$")]
Numeric = Annotated[str, StringConstraints(pattern="^(?:[0-9]{3})?$")]
Tld = Annotated[str, StringConstraints(pattern=r"^\.[a-z0-9]{2,63}$")]

FlagFile = Annotated[str, StringConstraints(max_length=300, pattern=f"^{_FLAG_FILE}$")]
HistoryFile = Annotated[str, StringConstraints(pattern=rf"^(?:history/{_CODE}/{_SHA256}\.{_EXTENSION})?$")]
ImageFormat = Annotated[str, StringConstraints(pattern=f"^(?:{'|'.join(EXTENSIONS)})$")]
Sha256 = Annotated[str, StringConstraints(pattern=f"^{_SHA256}$")]
# A message in a header, which a line break would split in two.
Validator = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[\x20-\x7e]*$")]
# Pages contain it without escaping.
Thumbnail = Annotated[
    str, StringConstraints(max_length=10_000, pattern="^(?:data:image/[a-z]+;base64,[A-Za-z0-9+/]*={0,2})?$")
]

Count = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Pixels = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
# 1 TiB, so that sums fit in 64 bits.
SizeBytes = Annotated[int, Field(strict=True, ge=0, le=2**40)]
DistanceBits = Annotated[int, Field(strict=True, ge=0, le=64)]
Moment = Annotated[
    datetime,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.datetime_schema(
            tz_constraint=0, ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC)
        )
    ),
]

# Cells of the catalog, which are empty where nothing is known.
FlagFileOrEmpty = Annotated[str, StringConstraints(max_length=300, pattern=f"^(?:{_FLAG_FILE})?$")]
ImageFormatOrEmpty = Annotated[str, StringConstraints(pattern=f"^(?:{'|'.join(EXTENSIONS)})?$")]
Sha256OrEmpty = Annotated[str, StringConstraints(pattern=f"^(?:{_SHA256})?$")]
Phash = Annotated[str, StringConstraints(pattern="^(?:[0-9a-f]{16})?$")]
PixelMode = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9;]{0,16}$")]
AspectRatio = Annotated[str, StringConstraints(pattern="^(?:[0-9]{1,10}:[0-9]{1,10})?$")]
HexColour = Annotated[str, StringConstraints(pattern="^#[0-9a-f]{6}$")]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Decimal = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
