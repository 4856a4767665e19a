"""Everything that can go wrong with a country, and what must come of it: the data of the fault matrix.

`python -m flag_pipeline_tests.faults` writes the matrix into this folder's README.md.
"""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flag_pipeline.core.countries import iso_codes, iso_country
from flag_pipeline.core.layout import flag_path, metadata_path, record_path
from flag_pipeline.errors import ErrorKind
from flag_pipeline.images.structure import Limits
from flag_pipeline_tests.flag_server import Answer, Ending, answer, head, raw
from flag_pipeline_tests.pictures import scans
from flag_pipeline_tests.samples import gif, picture

README = Path(__file__).with_name("README.md")
START, END = "<!-- fault matrix: start -->", "<!-- fault matrix: end -->"

MAX_BODY_BYTES, MAX_PIXELS = 20_000, 200_000
GIF = gif("CN")
NOT_FOUND, CONTRACT = ErrorKind.NOT_FOUND, ErrorKind.CONTRACT
TIMEOUT, CONNECTION = ErrorKind.TIMEOUT, ErrorKind.CONNECTION
THROTTLED, SERVER_ERROR = ErrorKind.THROTTLED, ErrorKind.SERVER_ERROR

Document = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one country.

    Attributes:
        kind: what the country fails with, None when it is still saved.
        attempts: requests for the file that needed most; two are allowed.
        flag: how the server answers for the flag, as usual when empty.
        metadata: the same for the metadata.
        document: what the metadata is instead, given the code.
        store: what is wrong with the store, given its root and the code.
    """

    name: str
    kind: ErrorKind | None
    attempts: int = 1
    flag: tuple[Answer, ...] = ()
    metadata: tuple[Answer, ...] = ()
    document: Document | None = None
    store: Callable[[Path, str], None] | None = None


def _metadata(name: object, **changed: object) -> Document:
    """A metadata document of which only the name, or what else is given, is unusual."""
    return lambda code: json.dumps({"country": name, "iso_cc": code, **changed}).encode()


def _always(content: bytes) -> Document:
    return lambda _code: content


def _folder_at(path_of: Callable[[str], str]) -> Callable[[Path, str], None]:
    def prepare(root: Path, code: str) -> None:
        (root / path_of(code)).mkdir(parents=True)

    return prepare


def _huge_file_at(path_of: Callable[[str], str]) -> Callable[[Path, str], None]:
    def prepare(root: Path, code: str) -> None:
        (root / path_of(code)).touch()
        os.truncate(root / path_of(code), 3 * 2**30)

    return prepare


def _pipe_at(path_of: Callable[[str], str]) -> Callable[[Path, str], None]:
    return lambda root, code: os.mkfifo(root / path_of(code))


def _flag_path(code: str) -> str:
    return flag_path(code, iso_country(code).name, "gif")


def _damaged_record(root: Path, code: str) -> None:
    (root / record_path(code)).write_bytes(b'{"schema": 1')


def _linked_flag(root: Path, code: str) -> None:
    (root / _flag_path(code)).symlink_to(root / "precious")


def _frames(n_frames: int) -> bytes:
    single = picture("GIF", size=(1, 1))
    return single[:-1] + single[single.index(b"\x2c") : -1] * (n_frames - 1) + b";"


OK = answer(200, GIF)
JPEG = picture("JPEG")
BOMB = GIF[:6] + b"\xff\xff\xff\xff" + GIF[10:]
CHUNKED = head(Transfer_Encoding="chunked")
A_LENGTH = head(Content_Length=str(len(GIF)))
CLOSING = head(Content_Length=str(len(GIF)), Connection="close")
SILENT = raw(then=Ending.STALL)
STATUSES = (
    Fault("404 for both files", NOT_FOUND, flag=(answer(404),), metadata=(answer(404),)),
    Fault("404 for the metadata alone", NOT_FOUND, metadata=(answer(404),)),
    Fault("410", NOT_FOUND, flag=(answer(410),)),
    Fault("503, then 404", NOT_FOUND, 2, flag=(answer(503), answer(404))),
    Fault("202", THROTTLED, 2, flag=(answer(202, b"not yet"),)),
    Fault("202 once", None, 2, flag=(answer(202), OK)),
    Fault("203", None, flag=(answer(203, GIF),)),
    Fault("204", CONTRACT, flag=(answer(204),)),
    Fault("206", CONTRACT, flag=(answer(206, GIF),)),
    Fault("304 that was not asked for", CONTRACT, flag=(answer(304),)),
    Fault("400", CONTRACT, flag=(answer(400),)),
    Fault("401", CONTRACT, flag=(answer(401),)),
    Fault("403", CONTRACT, flag=(answer(403),)),
    Fault("403, Retry-After in seconds", THROTTLED, 2, flag=(answer(403, Retry_After="7"),)),
    Fault("408 once", None, 2, flag=(answer(408), OK)),
    Fault("421 once", None, 2, flag=(answer(421), OK)),
    Fault("425", THROTTLED, 2, flag=(answer(425),)),
    Fault("451", CONTRACT, metadata=(answer(451),)),
    Fault("500", SERVER_ERROR, 2, flag=(answer(500),)),
    Fault("502 for the metadata", SERVER_ERROR, 2, metadata=(answer(502),)),
    Fault("503 once", None, 2, flag=(answer(503), OK)),
    Fault("503, Retry-After a year", SERVER_ERROR, 2, flag=(answer(503, Retry_After="31536000"),)),
    Fault("429", THROTTLED, 2, flag=(answer(429),)),
    Fault("429, Retry-After in seconds", THROTTLED, 2, flag=(answer(429, Retry_After="7"),)),
    Fault("429, Retry-After a date", THROTTLED, 2, flag=(answer(429, Retry_After="Fri, 31 Dec 2999 23:59:59 GMT"),)),
    Fault("429, Retry-After nonsense", THROTTLED, 2, flag=(answer(429, Retry_After="soon"),)),
    Fault("429 once", None, 2, flag=(answer(429, Retry_After="1"), OK)),
)
CONNECTIONS = (
    Fault("no answer", TIMEOUT, 2, flag=(SILENT,)),
    Fault("no answer once", None, 2, flag=(SILENT, OK)),
    Fault("silence in the body", TIMEOUT, 2, flag=(raw(A_LENGTH + GIF[:50], then=Ending.STALL),)),
    Fault("a byte now and then", TIMEOUT, 2, flag=(raw(A_LENGTH, *[b"x"] * len(GIF), every_s=0.05),)),
    Fault("closed at once", CONNECTION, 2, flag=(raw(),)),
    Fault("reset at once", CONNECTION, 2, metadata=(raw(then=Ending.RESET),)),
    Fault("closed in the headers", CONNECTION, 2, flag=(raw(b"HTTP/1.1 200 OK\r\nConte"),)),
    Fault("body cut short", CONNECTION, 2, flag=(raw(A_LENGTH + GIF[:50]),)),
    Fault("body cut short once", None, 2, flag=(raw(A_LENGTH + GIF[:50]), OK)),
    Fault("body reset", CONNECTION, 2, flag=(raw(A_LENGTH + GIF[:50], then=Ending.RESET),)),
    Fault("cut between chunks", CONNECTION, 2, flag=(raw(CHUNKED + b"6\r\nGIF89a\r\n"),)),
    Fault("cut in a chunk", CONNECTION, 2, flag=(raw(CHUNKED + b"99\r\nGIF89a"),)),
    Fault("chunk without size", CONTRACT, flag=(raw(CHUNKED + b"xyz\r\nGIF89a\r\n"),)),
    Fault("length smaller than the body", CONTRACT, flag=(raw(head(Content_Length="50") + GIF),)),
    Fault("no HTTP", CONTRACT, flag=(raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),)),
    Fault("two lengths", CONTRACT, flag=(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),)),
    Fault("header without end", CONTRACT, flag=(raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),)),
    # A whole answer. Unless it says that it closes, the next request on the connection may find it closed.
    Fault("ETag in another encoding", None, flag=(raw(CLOSING[:-2] + b'ETag: "\xff"\r\n\r\n' + GIF),)),
)
REDIRECTS = (
    Fault("redirect on the same host", None, flag=(answer(302, Location="/zw/zw.gif"),)),
    Fault("redirect to another host", CONTRACT, flag=(answer(302, Location="http://evil.example/"),)),
    Fault("redirect to a private address", CONTRACT, flag=(answer(302, Location="http://169.254.169.254/"),)),
    Fault("redirect to another port", CONTRACT, flag=(answer(302, Location="http://127.0.0.1:22/"),)),
    Fault("redirect to a file", CONTRACT, flag=(answer(302, Location="file:///etc/passwd"),)),
    Fault("redirect in a circle", CONTRACT, flag=(answer(302, Location="?again"),)),
)
IMAGES = (
    Fault("announced too big", CONTRACT, flag=(raw(head(Content_Length="20001"), then=Ending.STALL),)),
    Fault("too big unannounced", CONTRACT, flag=(raw(head() + b"x" * 30_000),)),
    Fault("gzip bomb", CONTRACT, flag=(answer(200, gzip.compress(b"\0" * 10**7), Content_Encoding="gzip"),)),
    Fault("gzip by its old name", None, flag=(answer(200, gzip.compress(GIF), Content_Encoding="x-gzip"),)),
    Fault("no gzip, although it says so", CONTRACT, flag=(answer(200, GIF, Content_Encoding="gzip"),)),
    Fault("gzip cut short", CONTRACT, flag=(answer(200, gzip.compress(GIF)[:-20], Content_Encoding="gzip"),)),
    Fault("gigapixels in the header", CONTRACT, flag=(answer(200, BOMB),)),
    Fault("too many pixels", CONTRACT, flag=(answer(200, picture("PNG", size=(500, 500))),)),
    Fault("too many frames", CONTRACT, flag=(answer(200, _frames(Limits().max_frames + 1)),)),
    Fault("HTML with status 200", CONTRACT, flag=(answer(200, b"<html>Please log in</html>"),)),
    Fault("empty body", CONTRACT, flag=(answer(200),)),
    Fault("GIF cut short", CONTRACT, flag=(answer(200, GIF[:-30]),)),
    Fault("GIF with a script behind it", CONTRACT, flag=(answer(200, GIF[:-1] + b"<script>"),)),
    Fault("JPEG of too many scans", CONTRACT, flag=(answer(200, scans(Limits().max_scans + 1)),)),
    Fault("JPEG of as many scans as allowed", None, flag=(answer(200, scans(Limits().max_scans)),)),
    Fault("JPEG with further pictures (MPO)", None, flag=(answer(200, picture("MPO", frames=2)),)),
    Fault("JPEG with an undeclared picture behind it", CONTRACT, flag=(answer(200, JPEG + JPEG),)),
    Fault("GIF with a line feed behind it", None, flag=(answer(200, GIF + b"\n"),)),
    Fault("GIF with 2 kB of zeros behind it", None, flag=(answer(200, GIF + bytes(2_000)),)),
    Fault("GIF with an archive behind it", CONTRACT, flag=(answer(200, GIF + b"PK\3\4" + bytes(60)),)),
    Fault("PNG of 16 bits", None, flag=(answer(200, picture("PNG", mode="I;16")),)),
    Fault("BMP", CONTRACT, flag=(answer(200, picture("BMP")),)),
    Fault("PNG called GIF", None, flag=(answer(200, picture("PNG")),)),
)
DOCUMENTS = (
    Fault("metadata: HTML", CONTRACT, document=_always(b"<html>")),
    Fault("metadata: empty", CONTRACT, document=_always(b"")),
    Fault("metadata: UTF-16", CONTRACT, document=_always('{"country": "x"}'.encode("utf-16"))),
    Fault("metadata: a list", CONTRACT, document=_always(b"[]")),
    Fault("metadata: NaN", CONTRACT, document=_metadata("x", gdp=float("nan"))),
    Fault("metadata: nested 9,000 deep", CONTRACT, document=_always(b"[" * 9_000 + b"]" * 9_000)),
    Fault("metadata: 10 MB", CONTRACT, document=_always(b" " * 10**7)),
    Fault("metadata: the same key twice", CONTRACT, document=_always(b'{"country": "x", "country": "y"}')),
    Fault("metadata: another country's", CONTRACT, document=_always(b'{"country": "x", "iso_cc": "ZZ"}')),
    Fault("metadata: no name", CONTRACT, document=_metadata(None)),
    Fault("metadata: a number for a name", CONTRACT, document=_metadata(7)),
    Fault("metadata: byte order mark", None, document=lambda code: b"\xef\xbb\xbf" + _metadata("Mark")(code)),
    Fault("name: ../../x", CONTRACT, document=_metadata("../../x")),
    Fault("name: a terminal's escape sequence", CONTRACT, document=_metadata("\x1b[31mred")),
    Fault("name: right-to-left override", None, document=_metadata("a\u202eb")),
    Fault("name: zero-width space", None, document=_metadata("a\u200bb")),
    Fault("name: a line feed behind it", None, document=_metadata("China\r\n")),
    Fault("name: two names with a slash", None, document=_metadata("Myanmar/Burma")),
    Fault("name: half a character", CONTRACT, document=_metadata("a\ud800b")),
    Fault("name: 101 characters", CONTRACT, document=_metadata("x" * 101)),
    Fault("name: Arabic", None, document=_metadata("مصر")),
    Fault("name: a formula", None, document=_metadata("=1+1")),
    Fault("name: markup", None, document=_metadata("<b>x & [a](b)")),
)
STORES = (
    Fault("store: a folder in place of the flag", None, store=_folder_at(_flag_path)),
    Fault("store: a folder in place of the metadata", None, store=_folder_at(metadata_path)),
    Fault("store: a folder in place of the record", None, store=_folder_at(record_path)),
    Fault("store: 3 GB in place of the flag", None, store=_huge_file_at(_flag_path)),
    Fault("store: 3 GB in place of the record", None, store=_huge_file_at(record_path)),
    Fault("store: a pipe in place of the flag", None, store=_pipe_at(_flag_path)),
    Fault("store: a pipe in place of the record", None, store=_pipe_at(record_path)),
    Fault("store: a damaged record", None, store=_damaged_record),
    Fault("store: a link in place of the flag", None, store=_linked_flag),
)
FAULTS = {fault.name: fault for fault in (*STATUSES, *CONNECTIONS, *REDIRECTS, *IMAGES, *DOCUMENTS, *STORES)}
CODE_OF = dict(zip(FAULTS, iso_codes(), strict=False))


SHAPES = ("ranged", "list", "single")
GREEN, RED, GREY = "green", "red", "grey"


def colour_of(fault: Fault, shape: str) -> str:
    """How Dagster shows the country's partition after a run of that shape."""
    if fault.kind is None:
        return GREEN
    # A run of its own succeeds when the source does not have the country; one that fails for another country's sake
    # paints this one red too.
    return GREY if fault.kind is NOT_FOUND and shape == "single" else RED


def fault_table() -> str:
    """The matrix as a Markdown table, between its two marks."""
    runs = " | ".join(f"{shape} run" for shape in SHAPES)
    lines = [
        START,
        f"| fault | kind | requests for the file | {runs} | recorded | files |",
        "|---|---|---|---|---|---|---|---|",
        *(_table_row(fault) for fault in FAULTS.values()),
        END,
    ]
    return "\n".join(lines)


def _table_row(fault: Fault) -> str:
    if fault.kind is None:
        kind, recorded, files = "", "materialization", "flag, metadata, record"
    else:
        kind = f"`{fault.kind}`"
        recorded = "observation: not found" if fault.kind is NOT_FOUND else "observation: failed"
        files = "the reason in the record"
    colours = " | ".join(colour_of(fault, shape) for shape in SHAPES)
    return f"| {fault.name} | {kind} | {fault.attempts} | {colours} | {recorded} | {files} |"


def main() -> None:
    """Write the table into the README, in place of the one that is there."""
    text = README.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    README.write_text(before + fault_table() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
