import gzip
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.system.packing import COMPRESSIONS, READ, STEP_BYTES, PackingError, unpacker


def unpacked(headers: Sequence[str], pieces: Sequence[bytes]) -> bytes:
    opener = unpacker(headers)
    if opener is None:
        return b"".join(pieces)
    steps = [step for piece in pieces for step in opener.unpacked(piece)]
    opener.finish()
    return b"".join(steps)


@pytest.mark.parametrize("headers", [[], [""], ["identity"], ["None", "UTF-8"], ["aws-chunked, binary"], ["what-ever"]])
def test_what_names_no_compression_is_none(headers: Sequence[str]) -> None:
    assert unpacker(headers) is None


@given(st.text("abcdefghijklmnopqrstuvwxyz-0123456789"))
def test_only_the_codings_that_compress_have_a_meaning(name: str) -> None:
    if name not in COMPRESSIONS:
        assert unpacker([name]) is None


@pytest.mark.parametrize("name", sorted(COMPRESSIONS - READ))
def test_a_compression_that_is_not_read_is_named(name: str) -> None:
    with pytest.raises(PackingError, match=f"packed as '{name}'"):
        unpacker(["aws-chunked", name.upper()])


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_gzip_and_deflate_are_undone_whatever_pieces_they_come_in(size: int) -> None:
    data = bytes(range(256)) * 300
    for headers, packed in ((["gzip"], gzip.compress(data)), (["Deflate"], zlib.compress(data))):
        assert unpacked(headers, [packed[at : at + size] for at in range(0, len(packed), size)]) == data


def test_a_bomb_comes_in_short_steps() -> None:
    opener = unpacker(["gzip"])
    assert opener is not None
    steps = opener.unpacked(gzip.compress(bytes(2**26)))
    assert len(next(steps)) == STEP_BYTES


def test_what_is_cut_or_damaged_is_said() -> None:
    packed = gzip.compress(b"pixels" * 100)
    with pytest.raises(PackingError, match="cut off"):
        unpacked(["gzip"], [packed[:-4]])
    with pytest.raises(PackingError, match="cut off"):
        unpacked(["gzip"], [])
    with pytest.raises(PackingError, match="damaged"):
        unpacked(["gzip"], [b"\xff\xd8\xff"])
