"""A JSON body, in pieces: its long texts are cut out as they arrive, and only the small rest is parsed as a whole.

A parser of JSON takes a text of 31 MiB in one call of 30 ms, in which nobody else is answered, and of a text with one
emoji it makes four bytes a character. Here a step is a millisecond or two, and a long text is kept once, as the bytes
that it is.
"""

import secrets

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from salver.text import counted
from service.errors import ScoringError
from service.scoring.encoded import BLOCK_BYTES, LongText

WHOLE_BYTES = 256 * 1024
"""Up to this a body is parsed as it is, in at most 2 ms."""
LONG_BYTES = 8 * 1024
"""What is longer between two quotes is cut out."""
MAX_TEXTS_PER_ITEM = 16  # names count, too; each costs 2 µs
MAX_REST_BYTES_PER_ITEM = 16 * 1024
STEP_BYTES = 64 * 1024
_FIRST_PRINTABLE = 32
_LONGEST_ESCAPE = 6  # "\u0041"
_NO_BRACKETS = bytes.maketrans(b"[]", b"  ")
_OF_NUMBERS = b"0123456789-+.eE \t\r\n"


class Numbers:
    """A long JSON list of numbers from 0 to 255, flat or nested, that was parsed as it came."""

    def __init__(self, max_values: int) -> None:
        self.brackets = bytearray()
        """Its brackets and commas."""
        self._max_values = max_values
        self._values: list[NDArray[np.uint8]] = []
        self._count = 0
        self._begun = b""
        """What stands after the last comma."""

    def write(self, data: bytes) -> None:
        """Raises ScoringError `invalid-request`."""
        self.brackets += data.translate(None, _OF_NUMBERS)
        done, comma, rest = data.translate(_NO_BRACKETS).rpartition(b",")
        if comma:
            self._parse(self._begun + done)
            self._begun = rest
        else:
            self._begun += rest
        if self._count >= self._max_values or len(self.brackets) > 4 * self._max_values:
            raise too_many_values(self._max_values)
        if len(self._begun) > LONG_BYTES:
            raise _not_numbers()

    def end(self) -> NDArray[np.uint8]:
        """All of them, flat. Raises ScoringError `invalid-request`."""
        if self._begun.strip():
            self._parse(self._begun)
        return np.concatenate(self._values)

    def _parse(self, text: bytes) -> None:
        try:
            values = np.array(from_json(b"[" + text + b"]"))
        except ValueError:
            raise _not_numbers() from None
        if values.dtype.kind not in "iu":
            raise _not_numbers()
        if values.min() < 0 or values.max() > 255:
            raise ScoringError("invalid-request", "pixels: a value is not from 0 to 255.")
        self._values.append(values.astype(np.uint8))
        self._count += len(values)


class JsonBody:
    """Takes a body piece by piece. `rest` is then the JSON to parse, with a name in the place of each long text."""

    def __init__(self, max_items: int, whole_bytes: int = WHOLE_BYTES, max_values: int = 0) -> None:
        """`max_values` is how many numbers a long list may hold; with 0, lists are not cut out."""
        self._max_items = max_items
        self._whole_bytes = whole_bytes
        self._max_values = max_values
        self._max_texts = MAX_TEXTS_PER_ITEM * (max_items + 1)
        self._max_rest_bytes = MAX_REST_BYTES_PER_ITEM * max(max_items, 64)
        self._pieces: list[bytes] = []
        self._size = 0
        self._name = ""
        self._rest = bytearray()
        self._held = b""
        self._in_text = False
        self._part = bytearray()
        """Of the text, or of what stands between two, as long as it is not long."""
        self._text: _Text | None = None
        self._numbers: Numbers | None = None
        self._texts = 0
        self._long: dict[str, LongText] = {}
        self._lists: dict[int, Numbers] = {}

    @property
    def cuts(self) -> int:
        """How many texts and lists were cut out."""
        return len(self._long) + len(self._lists)

    def text(self, name: str) -> str | LongText:
        """The long text of that name; the name itself when it is a text of its own."""
        return self._long.get(name, name) if self._long else name  # to look one up costs as much as to parse it

    def numbers(self, data: object) -> Numbers | None:
        """The long list that a parsed one stands for."""
        return self._lists.get(data[0]) if isinstance(data, list) and len(data) == 1 and self._lists else None

    def write(self, data: bytes) -> None:
        """Take the next piece. Raises ScoringError `malformed-json`, `invalid-request` or `payload-too-large`."""
        self._size += len(data)
        if self._name:
            self._cut(data)
            return
        self._pieces.append(data)
        if self._size > self._whole_bytes:
            self._name = secrets.token_hex(7)  # so that no text of the caller's has it
            for piece in self._pieces:
                self._cut(piece)
            self._pieces.clear()

    def rest(self) -> bytes:
        """The JSON to parse, when all has come. Raises ScoringError `invalid-request`."""
        if not self._name:
            return b"".join(self._pieces)
        if self._in_text:
            self._rest += self._part or b"cut short"
        else:
            self._end_between()
        return bytes(self._rest + self._held)

    def _cut(self, data: bytes) -> None:
        for start in range(0, len(data), STEP_BYTES):
            self._step(self._held + data[start : start + STEP_BYTES])

    def _step(self, data: bytes) -> None:
        """Find the quotes that no backslash escapes. An escape that may go on in the next piece is left for it."""
        masked = data
        if b"\\" in data:
            masked = data.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        escape = masked.rfind(b"\\", max(0, len(data) - _LONGEST_ESCAPE + 1))
        self._held = b"" if escape < 0 else data[escape:]
        size = len(data) if escape < 0 else escape
        at = 0
        while (quote := masked.find(b'"', at, size)) >= 0:
            if self._in_text:
                self._take_text(data[at:quote])
                self._end_text()
            else:
                self._take_between(data[at:quote])
                self._end_between()
                self._count_text()
            self._rest += b'"'
            self._in_text = not self._in_text
            at = quote + 1
        if self._in_text:
            self._take_text(data[at:size])
        else:
            self._take_between(data[at:size])
        if len(self._rest) > self._max_rest_bytes:
            raise ScoringError(
                "payload-too-large",
                f"The JSON holds more than {self._max_rest_bytes} bytes besides its images: the limit is "
                f"{counted(self._max_items, 'image')} in a request, send the list in parts.",
            )

    def _count_text(self) -> None:
        self._texts += 1
        if self._texts > self._max_texts:
            raise ScoringError(
                "invalid-request",
                f"The JSON holds more than {self._max_texts} texts: the limit is "
                f"{counted(self._max_items, 'image')} in a request, send the list in parts.",
            )

    def _take_text(self, data: bytes) -> None:
        if self._text is not None:
            self._text.write(data)
            return
        self._part += data
        if len(self._part) > LONG_BYTES:
            self._text = _Text()
            self._text.write(bytes(self._part))
            self._part.clear()

    def _end_text(self) -> None:
        if self._text is None:
            self._rest += self._part
        else:
            name = f"{self._name}{self.cuts}"
            self._long[name] = self._text.end()
            self._text = None
            self._rest += name.encode()
        self._part.clear()

    def _take_between(self, data: bytes) -> None:
        if self._numbers is not None:
            self._take_numbers(data)
            return
        self._part += data
        if len(self._part) > LONG_BYTES:
            before, bracket, numbers = bytes(self._part).partition(b"[")
            if self._max_values and numbers[:8].strip(b"[ ") and not numbers.translate(None, _OF_NUMBERS + b"[],"):
                self._rest += before
                self._numbers = Numbers(self._max_values)
                self._part.clear()
                self._take_numbers(bracket + numbers)
            else:
                self._rest += self._part
                self._part.clear()

    def _take_numbers(self, data: bytes) -> None:
        """A list ends before the first brace, or with the quote after it."""
        assert self._numbers is not None
        brace = data.find(b"}")
        if brace < 0:
            self._numbers.write(data)
            return
        self._numbers.write(data[:brace])
        self._end_numbers(self._numbers)
        self._take_between(data[brace:])

    def _end_numbers(self, numbers: Numbers) -> None:
        after = b"," if numbers.brackets.endswith(b",") else b""
        if after:
            numbers.brackets.pop()
        surplus = numbers.brackets.count(b"]") - numbers.brackets.count(b"[")
        if 0 < surplus <= 8 and numbers.brackets.endswith(b"]" * surplus):
            del numbers.brackets[-surplus:]
            after = b"]" * surplus + after
        number = int(self._name, 16) + self.cuts
        self._lists[number] = numbers
        self._numbers = None
        self._rest += b"[%d]" % number + after

    def _end_between(self) -> None:
        if self._numbers is not None:
            self._end_numbers(self._numbers)
        self._rest += self._part
        self._part.clear()


class _Text:
    """A long text that arrives: its escapes are resolved, and what is not ASCII is not kept."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._block = bytearray()
        self._is_ascii = True

    def write(self, data: bytes) -> None:
        """A part that holds escapes whole. Raises ScoringError `malformed-json`."""
        if not data.isascii():
            self._drop()
        if not self._is_ascii:
            return
        if np.frombuffer(data, np.uint8).min(initial=255) < _FIRST_PRINTABLE:
            raise ScoringError("malformed-json", "Invalid JSON: a control character in a text: write it as an escape.")
        if b"\\" in data:
            data = self._resolved(data)
        self._block += data
        if len(self._block) >= BLOCK_BYTES:
            size = len(self._block) // 4 * 4
            self._blocks.append(bytes(memoryview(self._block)[:size]))
            del self._block[:size]

    def end(self) -> LongText:
        return LongText((*self._blocks, bytes(self._block)) if self._is_ascii else None)

    def _resolved(self, data: bytes) -> bytes:
        try:
            text: str = from_json(b'"' + data + b'"')
        except ValueError:
            raise ScoringError("malformed-json", "Invalid JSON: an escape in a text is none.") from None
        if text.isascii():
            return text.encode("ascii")
        self._drop()
        return b""

    def _drop(self) -> None:
        self._is_ascii = False
        self._blocks.clear()
        self._block.clear()


def too_many_values(most: int) -> ScoringError:
    """More numbers in JSON than are read."""
    return ScoringError("invalid-request", f"The JSON holds more than {most} values: send the tensor as binary data.")


def _not_numbers() -> ScoringError:
    return ScoringError(
        "invalid-request", "pixels: data is not a list of whole numbers, flat or nested like the shape."
    )
