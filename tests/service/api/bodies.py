"""The bodies that cost a service most, of each way in; every one is at most 32 MiB when it is unpacked."""

import gzip
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

SIZE = 31 * 2**20
INFER = "/v2/models/salver/infer"
EDGE = "multipart/form-data; boundary=edge"
PART = b'--edge\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\n'


class Attack(NamedTuple):
    name: str
    path: str
    headers: dict[str, str]
    body: Callable[[], bytes]
    """Makes it: all of them at once would take gigabytes."""
    chunk: bytes = b""
    """With it, the body is that chunk as it is framed, again and again."""


def filled(before: bytes, unit: bytes, after: bytes, size: int = SIZE) -> Callable[[], bytes]:
    """As many units as there is room for."""
    return lambda: before + unit * ((size - len(before) - len(after)) // len(unit)) + after


def packed(body: Callable[[], bytes]) -> Callable[[], bytes]:
    """In gzip."""
    return lambda: gzip.compress(body(), 1)


TEXT = b'[{"image_in_base64": "', b'"}]'
JSON_BODIES = {
    "plain base64": filled(TEXT[0], b"A" * 64, TEXT[1]),
    "lines as escapes": filled(TEXT[0], b"A" * 76 + b"\\n", TEXT[1]),
    "slashes as escapes": filled(TEXT[0], b"AAAAAAAAA\\/", TEXT[1]),
    "each letter an escape": filled(TEXT[0], b"\\u0041", TEXT[1]),
    "each letter a line break": filled(TEXT[0], b"\\n", TEXT[1]),
    "white space in base64": filled(TEXT[0], b" ", TEXT[1]),
    "padding": filled(TEXT[0], b"=", TEXT[1]),
    "one emoji": filled(TEXT[0] + "\U0001f600".encode(), b"A" * 64, TEXT[1]),
    "an emoji as escapes": filled(TEXT[0] + b"\\ud83d\\ude00", b"A" * 64, TEXT[1]),
    "an emoji at the end": filled(TEXT[0], b"A" * 64, "\U0001f600".encode() + TEXT[1]),
    "emojis": filled(TEXT[0], "\U0001f600".encode(), TEXT[1]),
    "backslashes": filled(TEXT[0], b"\\\\", TEXT[1]),
    "white space around": filled(b"[", b" ", b"]"),
    "nested lists": filled(b"", b"[", b""),
    "nested objects": filled(b"", b'{"a":', b""),
    "commas": filled(b"[", b"0,", b"0]"),
    "empty objects": filled(b"[", b"{},", b"{}]"),
    "empty texts": filled(b"[", b'"",', b'""]'),
    "keys": filled(b"[{", b'"a":1,', b'"b":1}]'),
    "short images": filled(b"[", b'{"image_in_base64":"' + b"A" * 500_000 + b'"},', b'{"image_in_base64":"A"}]'),
    "digits": filled(b"[", b"1", b"]"),
    "an address": filled(b'{"image_url": "http://', b"a", b'"}'),
}
SHORT_JSON = {f"short, {name}": body for name, body in {
    "commas": filled(b"[", b"0,", b"0]", 262_000),
    "objects": filled(b"[", b"{},", b"{}]", 12_000),
    "keys": filled(b"[{", b'"a":1,', b'"b":1}]', 29_000),
    "texts": filled(b"[", b'""', b"]", 262_000),
    "escapes": filled(TEXT[0], b"\\u0041", TEXT[1], 262_000),
    "emojis": filled(TEXT[0], "\U0001f600".encode(), TEXT[1], 262_000),
}.items()}  # fmt: skip


def _infer_json(
    data: Callable[[], bytes], datatype: str = "BYTES", shape: str = "[1]", name: str = "image"
) -> Callable[[], bytes]:
    head = f'{{"inputs": [{{"name": "{name}", "datatype": "{datatype}", "shape": {shape}, "data": '
    return lambda: head.encode() + data() + b"}]}"


INFER_BODIES = {
    "plain base64": _infer_json(filled(b'["', b"A" * 64, b'"]')),
    "each letter an escape": _infer_json(filled(b'["', b"\\u0041", b'"]')),
    "numbers": _infer_json(filled(b"[", b"255,", b"1]", 4 * 2**19), "UINT8", "[1, 32, 32, 3]", "pixels"),
    "nested numbers": _infer_json(
        filled(b"[", b"[2,3,4],", b"[1,1,1]]", 4 * 2**19), "UINT8", "[1, 32, 32, 3]", "pixels"
    ),
    "digits": _infer_json(filled(b"[", b"1", b"]"), "UINT8", "[1, 32, 32, 3]", "pixels"),
    "brackets": _infer_json(filled(b"[1", b"[]", b"]"), "UINT8", "[1, 32, 32, 3]", "pixels"),
    "an id": filled(b'{"id": "', b"A", b'"}'),
    "others' parameters": filled(b'{"parameters": {', b'"a":1,', b'"b":1}}'),
    "short, numbers": _infer_json(filled(b"[", b"9,", b"9]", 32_000), "UINT8", "[1, 32, 32, 3]", "pixels"),
    "short, objects": filled(b'{"parameters": {"a": [', b"{},", b"{}]}}", 32_000),
}
FORMS = {
    "one file": filled(PART, b"A", b"\r\n--edge--\r\n"),
    "sixty-four files": lambda: filled(PART, b"A", b"\r\n", SIZE // 64)() * 64 + b"--edge--\r\n",
    "line breaks": filled(PART, b"\r\n", b"\r\n--edge--\r\n"),
    "all but a boundary": filled(PART, b"\r\n--edg", b"\r\n--edge--\r\n"),
    "parts": filled(b"", PART + b"\r\n", b""),
    "headers": filled(b"--edge\r\n", b"A: b\r\n", b""),
    "before the first": filled(b"", b"\r\n", b""),
}


def attacks() -> Iterator[Attack]:
    """All of them."""
    json_type, in_gzip = {"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}
    for name, body in (JSON_BODIES | SHORT_JSON).items():
        yield Attack(f"JSON, {name}", "/score", json_type, body)
    for name, body in JSON_BODIES.items():
        yield Attack(f"JSON in gzip, {name}", "/score", json_type | in_gzip, packed(body))
    for name, body in INFER_BODIES.items():
        yield Attack(f"inference protocol, {name}", INFER, json_type, body)
    for name, body in FORMS.items():
        yield Attack(f"form, {name}", "/score", {"Content-Type": EDGE}, body)
        yield Attack(f"form in gzip, {name}", "/score", {"Content-Type": EDGE} | in_gzip, packed(body))
    file = filled(b"", b"A", b"", 20 * 2**20)
    yield Attack("a file", "/score", {"Content-Type": "image/jpeg"}, file)
    yield Attack("a file in gzip", "/score", {"Content-Type": "image/jpeg"} | in_gzip, packed(file))
    yield Attack("gzip, members", "/score", json_type | in_gzip, filled(b"", gzip.compress(b""), b"", 2 * 2**20))
    for count in (1, 64):
        yield _binary(count)
    yield Attack("chunks of a byte", "/score", json_type, bytes, b"1\r\nA\r\n")
    yield Attack("chunks with extensions", "/score", json_type, bytes, b"1;" + b"a" * 4096 + b"\r\nA\r\n")
    yield Attack("chunks of a hundred bytes", "/score", json_type, bytes, b"64\r\n" + b"A" * 100 + b"\r\n")


def _binary(count: int) -> Attack:
    """Images after the JSON."""
    length = SIZE // count - 100
    size = count * (length + 4)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    raw = length.to_bytes(4, "little")
    return Attack(f"inference protocol, {count} binary", INFER, headers, lambda: text + (raw + b"A" * length) * count)
