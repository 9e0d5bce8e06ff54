"""`multipart/form-data` (RFC 7578): the files of a form, in order, in memory."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from salver.text import counted
from service.errors import ScoringError


class Form:
    """Takes a body piece by piece; `files` gives what came. The names of fields and files do not matter."""

    def __init__(self, boundary: bytes, max_files: int) -> None:
        self._max_files = max_files
        self._files: list[list[bytes]] = []
        self._pieces: list[bytes] = []
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._check_part,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def write(self, data: bytes) -> None:
        """Take the next piece of the body. Raises ScoringError `invalid-request`."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise ScoringError("invalid-request", "The body is not multipart/form-data of its boundary.") from None

    def files(self) -> list[list[bytes]]:
        """The pieces of each file, in order. Raises ScoringError `invalid-request`: none, or the body was cut short."""
        if not self._ended:
            raise ScoringError("invalid-request", "The multipart body is cut short: its last boundary is missing.")
        if not self._files:
            raise ScoringError("invalid-request", "The form is empty: send at least one file.")
        return self._files

    def _begin_part(self) -> None:
        if len(self._files) == self._max_files:
            limit = counted(self._max_files, "image")
            raise ScoringError("invalid-request", f"The limit is {limit} in a request: send the files in parts.")
        self._disposition = b""
        self._pieces = []

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _check_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            name = options.get(b"name", b"")[:64].decode("utf-8", "replace")
            raise ScoringError(
                "invalid-request",
                f"Form field {name!r} is not a file: send files only, and parameters in the query (?add_softmax=true).",
            )

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end_part(self) -> None:
        self._files.append(self._pieces)

    def _end(self) -> None:
        self._ended = True
