"""Types of stored values, which pydantic checks when records and tables are read.

Each type accepts all values that any version wrote.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, GetPydanticSchema, StringConstraints
from pydantic_core import core_schema

MAX_REASON_CHARS = 10_000

CODE_PATTERN, SHA256_PATTERN = "[A-Z0-9]{2,8}", "[0-9a-f]{64}"

# No control characters, which would steer a terminal or break a line.
Line = Annotated[str, StringConstraints(max_length=2 * MAX_REASON_CHARS, pattern=r"^\P{Cc}*$")]
Code = Annotated[str, StringConstraints(pattern=f"^{CODE_PATTERN}$")]
# No format characters except the two joiners; see `countries`.
Name = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[^\p{Cc}\p{Co}\p{Zl}\p{Zp}[\p{Cf}--[\u200c\u200d]]]+$"),
]
Alpha3 = Annotated[str, StringConstraints(pattern="^(?:[A-Z]{3})?$")]
Numeric = Annotated[str, StringConstraints(pattern="^(?:[0-9]{3})?$")]
Tld = Annotated[str, StringConstraints(pattern=r"^\.[a-z0-9]{2,63}$")]

Sha256 = Annotated[str, StringConstraints(pattern=f"^{SHA256_PATTERN}$")]
# A line break would split the header.
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

# Catalog cells are empty if the value is unknown.
Sha256OrEmpty = Annotated[str, StringConstraints(pattern=f"^(?:{SHA256_PATTERN})?$")]
Phash = Annotated[str, StringConstraints(pattern="^(?:[0-9a-f]{16})?$")]
DerivedVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}$")]
PixelMode = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9;]{0,16}$")]
AspectRatio = Annotated[str, StringConstraints(pattern="^(?:(?:about )?[0-9]{1,10}:[0-9]{1,10})?$")]
HexColour = Annotated[str, StringConstraints(pattern="^#[0-9a-f]{6}$")]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Decimal = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
