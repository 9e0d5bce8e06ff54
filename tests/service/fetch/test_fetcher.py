"""Fetches from real servers on loopback.

127.0.0.2 stands for the outside: it is allow-listed where a fetch has to work. 127.0.0.1 stands for the inside, where a
listener counts what reaches it.
"""

import asyncio
import gzip
import logging
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from service.errors import ScoringError
from service.fetch.fetcher import Fetcher, FetchPolicy

pytestmark = pytest.mark.anyio

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
LIMIT_BYTES = 1_000_000
MIB = 1 << 20

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes = b"pixels", status: str = "200 OK", **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def redirect(location: str) -> bytes:
    return http(b"", "302 Found", Location=location)


class Site:
    """A small HTTP server that answers each path with the bytes it was given and keeps what it was sent."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.requests: list[str] = []
        self.server_names: list[str | None] = []
        self.connections = 0
        self.port = 0
        self.handlers: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.handlers.add(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(request)
                answer = self.answers[request.split(" ")[1]]
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(writer)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serving(
    answers: Mapping[str, Answer] | None = None, host: str = OUTSIDE, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    site = Site(answers or {"/": http()})
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: site.server_names.append(name)
    server = await asyncio.start_server(site.serve, host, port, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site
    await asyncio.gather(*(handler for handler in site.handlers if handler is not None))


def fetcher(
    *allowlist: str, answers: Sequence[str] = (), timeout_seconds: float = 5.0, tls: ssl.SSLContext | None = None
) -> Fetcher:
    """A fetcher; with `answers` every name resolves to these addresses."""
    policy = FetchPolicy(max_bytes=LIMIT_BYTES, timeout_seconds=timeout_seconds, allowlist=allowlist)

    async def resolver(host: str, port: int) -> Sequence[str]:
        return answers

    return Fetcher(policy, resolver, tls or WITHOUT_ROOTS) if answers else Fetcher(policy, ssl_context=WITHOUT_ROOTS)


# Reading certifi's roots takes 20 ms a context; only the tests of certificates look at any.
WITHOUT_ROOTS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def error_of(fetcher: Fetcher, url: str) -> ScoringError:
    with pytest.raises(ScoringError) as caught:
        await fetcher.fetch(url)
    return caught.value


def closed_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


async def test_the_body_of_an_allowed_url_is_returned_and_the_connection_kept() -> None:
    async with serving() as site, fetcher(OUTSIDE) as fetch:
        assert [await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") for _ in range(3)] == [b"pixels"] * 3
    assert site.connections == 1
    assert f"Host: {OUTSIDE}:{site.port}\r\n" in site.requests[0]
    assert "Accept-Encoding: identity\r\n" in site.requests[0]
    assert not any(field in site.requests[0].lower() for field in ("cookie", "authorization", "referer"))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "[::1]", "2130706433", "0177.0.0.1", "0x7f000001", "127.1", "017700000001", "0"),
        *("[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[::1%25lo]", "１２７.0.0.1", "127。0。0。1"),
    ],
)
async def test_an_inner_address_is_refused_in_every_spelling_alike_for_open_and_closed_ports(host: str) -> None:
    async with serving(host=INSIDE) as listener, fetcher() as fetch:
        open_port = await error_of(fetch, f"http://{host}:{listener.port}/x.png")
        closed = await error_of(fetch, f"http://{host}:{closed_port(INSIDE)}/x.png")
    assert listener.connections == 0
    assert open_port.kind == "url-refused"
    assert str(open_port).startswith("Address not allowed")
    assert str(open_port) == str(closed)


@pytest.mark.parametrize("host", ["169.254.169.254/latest/meta-data", "10.0.0.1", "[fd00::1]", "100.100.100.200"])
async def test_metadata_and_private_addresses_are_refused(host: str) -> None:
    async with fetcher() as fetch:
        assert "Address not allowed" in str(await error_of(fetch, f"http://{host}/"))


async def test_an_unknown_name_reads_like_a_name_of_the_inside() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        return []

    policy = FetchPolicy(max_bytes=1, timeout_seconds=5)
    async with fetcher(answers=["10.0.0.7"]) as inner, Fetcher(policy, nowhere, WITHOUT_ROOTS) as unknown:
        url = "http://redis.internal/"
        assert str(await error_of(inner, url)) == str(await error_of(unknown, url))


async def test_a_name_is_resolved_once_and_only_the_judged_address_is_connected_to() -> None:
    lookups = iter([[OUTSIDE], [INSIDE], [INSIDE]])

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return next(lookups)

    policy = FetchPolicy(max_bytes=LIMIT_BYTES, timeout_seconds=5, allowlist=(OUTSIDE,))
    async with (
        serving() as site,
        serving(host=INSIDE, port=site.port) as listener,
        Fetcher(policy, rebinding, WITHOUT_ROOTS) as fetch,
    ):
        assert await fetch.fetch(f"http://photos.example:{site.port}/") == b"pixels"
    assert list(lookups) == [[INSIDE], [INSIDE]]
    assert listener.connections == 0
    assert f"Host: photos.example:{site.port}\r\n" in site.requests[0]


async def test_of_a_name_with_several_addresses_only_the_allowed_ones_are_connected_to() -> None:
    async with (
        serving() as site,
        serving(host=INSIDE, port=site.port) as listener,
        fetcher(OUTSIDE, answers=[INSIDE, "::1", OUTSIDE]) as fetch,
    ):
        assert await fetch.fetch(f"http://photos.example:{site.port}/") == b"pixels"
    assert listener.connections == 0


async def test_the_next_allowed_address_is_connected_to_when_the_first_does_not_accept() -> None:
    async with serving() as site, fetcher("127.0.0.0/8", answers=["127.0.0.3", OUTSIDE]) as fetch:
        assert await fetch.fetch(f"http://photos.example:{site.port}/") == b"pixels"


async def test_a_public_name_that_holds_an_inner_address_is_refused() -> None:
    async with serving(host=INSIDE) as listener, fetcher(answers=[INSIDE]) as fetch:
        assert (await error_of(fetch, f"http://7f000001.nip.io:{listener.port}/")).kind == "url-refused"
    assert listener.connections == 0


async def test_a_name_on_the_allow_list_may_lead_inside() -> None:
    async with serving(host=INSIDE) as site, fetcher("store.local", answers=[INSIDE]) as fetch:
        assert await fetch.fetch(f"http://store.local:{site.port}/") == b"pixels"
        assert (await error_of(fetch, f"http://other.local:{site.port}/")).kind == "url-refused"


async def test_in_mode_allowlist_a_public_address_is_refused_unless_it_is_listed() -> None:
    policy = FetchPolicy(max_bytes=LIMIT_BYTES, timeout_seconds=5, mode="allowlist", allowlist=(OUTSIDE,))
    async with serving() as site, Fetcher(policy, ssl_context=WITHOUT_ROOTS) as fetch:
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") == b"pixels"
        assert (await error_of(fetch, "http://1.1.1.1/")).kind == "url-refused"


async def test_in_mode_off_nothing_is_fetched() -> None:
    policy = FetchPolicy(max_bytes=LIMIT_BYTES, timeout_seconds=5, mode="off", allowlist=(OUTSIDE,))
    async with serving() as site, Fetcher(policy, ssl_context=WITHOUT_ROOTS) as fetch:
        assert "switched off" in str(await error_of(fetch, f"http://{OUTSIDE}:{site.port}/"))
    assert site.connections == 0


def test_a_bad_allow_list_entry_is_named_when_the_policy_is_made() -> None:
    with pytest.raises(ValueError, match=r"'http://a\.example'"):
        FetchPolicy(max_bytes=1, timeout_seconds=1, allowlist=("http://a.example",))


async def test_a_redirect_from_allowed_to_allowed_is_followed_up_to_the_limit() -> None:
    answers = {f"/{hop}": redirect(f"/{hop + 1}") for hop in range(4)} | {"/4": http(b"end")}
    async with serving(answers) as site, fetcher(OUTSIDE) as fetch:
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/1") == b"end"
        assert "more than 3 times" in str(await error_of(fetch, f"http://{OUTSIDE}:{site.port}/0"))


async def test_a_redirect_loop_ends_at_the_limit() -> None:
    async with serving({"/": redirect("/")}) as site, fetcher(OUTSIDE) as fetch:
        assert (await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")).kind == "url-failed"
    assert len(site.requests) == 4


@pytest.mark.parametrize("target", ["http://127.0.0.1:{0}/", "//localhost:{0}/", "http://2130706433:{0}/"])
async def test_a_redirect_to_the_inside_is_refused(target: str) -> None:
    async with (
        serving(host=INSIDE) as listener,
        serving({"/": redirect(target.format(listener.port))}) as site,
        fetcher(OUTSIDE) as fetch,
    ):
        assert (await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")).kind == "url-refused"
    assert listener.connections == 0


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.2/x", "http://u:secret@127.0.0.2/", "http:\\\\x"]
)
async def test_a_redirect_to_another_scheme_or_with_credentials_is_refused(target: str) -> None:
    async with serving({"/": redirect(target)}) as site, fetcher(OUTSIDE) as fetch:
        error = await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")
    assert error.kind == "url-refused"
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        *("/etc/passwd", "file:///etc/passwd", "ftp://a.example/x", "data:image/png;base64,AAAA", "", "x", "http:///x"),
        *("http://127.0.0.1:6666\\@1.1.1.1/x.jpg", "http://fake@127.0.0.1/", "http://user:secret@a.example/"),
        *("http://user:sec/ret@a.example/", "http://a\t.example/", "http://a.example/\r\nX: y", "http://a .example/"),
        *("http://exa%6dple.example/", "http://a..example/", f"http://{'a' * 64}.example/", "http://[::1/"),
        *("http://a.example:0/", "http://a.example:65536/", "http://a.example:-1/", "http://a.example:x/"),
        *("http://\ud800.example/", "http://a.example/\ud800", "http://a.example/" + "x" * 100_000),
    ],
)
async def test_a_url_that_is_not_plain_http_is_refused_and_never_repeated(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with fetcher(answers=[INSIDE]) as fetch:
        error = await error_of(fetch, url)
    assert error.kind == "url-refused"
    assert not any(part in str(error) + caplog.text for part in ("secret", "sec/ret", "passwd"))


@pytest.mark.parametrize("url", ["data:image/jpeg;base64,/9j/", "DATA:,x", "  data:image/png;base64,AA\nAA"])
async def test_a_data_uri_is_refused_with_the_place_where_an_image_itself_belongs(url: str) -> None:
    async with fetcher() as fetch:
        error = await error_of(fetch, url)
    assert error.kind == "url-refused"
    assert "image_in_base64" in str(error)


async def test_a_redirect_to_a_data_uri_is_refused_as_any_other_scheme() -> None:
    async with serving({"/": redirect("data:image/png;base64,AAAA")}) as site, fetcher(OUTSIDE) as fetch:
        error = await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")
    assert error.kind == "url-refused"
    assert "http://" in str(error)


async def test_an_endless_body_stops_at_the_byte_limit() -> None:

    async def for_ever(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1024):
            writer.write(bytes(MIB))
            await writer.drain()

    async with serving({"/": for_ever}) as site, fetcher(OUTSIDE) as fetch:
        tracemalloc.start()
        error = await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert error.kind == "image-too-large"
    assert f"{LIMIT_BYTES} bytes" in str(error)
    assert peak_bytes < LIMIT_BYTES + 16 * MIB


async def test_a_gzip_bomb_stops_at_the_byte_limit() -> None:
    squeeze = zlib.compressobj(wbits=31)
    first = squeeze.compress(bytes(MIB)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    bomb = first + (squeeze.compress(bytes(MIB)) + squeeze.flush(zlib.Z_FULL_FLUSH)) * 1023
    async with serving({"/": http(bomb[:LIMIT_BYTES], Content_Encoding="gzip")}) as site, fetcher(OUTSIDE) as fetch:
        tracemalloc.start()
        error = await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert error.kind == "image-too-large"
    assert peak_bytes < LIMIT_BYTES + 16 * MIB


async def test_a_body_announced_as_too_long_is_refused_before_it_is_read() -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {LIMIT_BYTES + 1}\r\n\r\n".encode()
    async with serving({"/": answer}) as site, fetcher(OUTSIDE) as fetch:
        assert (await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")).kind == "image-too-large"


async def test_a_body_of_exactly_the_limit_is_fetched() -> None:
    async with serving({"/": http(bytes(LIMIT_BYTES))}) as site, fetcher(OUTSIDE) as fetch:
        assert len(await fetch.fetch(f"http://{OUTSIDE}:{site.port}/")) == LIMIT_BYTES


async def test_bytes_after_the_announced_length_are_not_read() -> None:

    async def lying(writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"0123456789"))
        for _ in range(100):
            writer.write(bytes(MIB))
            await writer.drain()

    async with serving({"/": lying}) as site, fetcher(OUTSIDE) as fetch:
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") == b"0123456789"
        site.answers = {"/": http(b"next")}
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") == b"next"


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_body_that_is_encoded_unasked_is_decoded(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    async with serving({"/": http(encode(b"pixels"), Content_Encoding=encoding)}) as site, fetcher(OUTSIDE) as fetch:
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") == b"pixels"


NO_COMPRESSION = (
    "",
    " ",
    "identity",
    "none",
    "binary",
    "UTF-8",
    "utf-8",
    "8bit",
    "AWS-Chunked",
    "aws-chunked,identity",
)


@pytest.mark.parametrize("encoding", [*NO_COMPRESSION, "aws-chunked\r\nContent-Encoding: none", ",,"])
async def test_a_coding_that_names_no_compression_is_read_over(encoding: str) -> None:
    """Object stores keep what an upload said."""
    async with serving({"/": http(Content_Encoding=encoding)}) as site, fetcher(OUTSIDE) as fetch:
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") == b"pixels"


@pytest.mark.parametrize(
    "encoding",
    ["aws-chunked,gzip", "gzip, aws-chunked", "GZip", "x-gzip", "none\r\nContent-Encoding: gzip", "UTF-8, gzip"],
)
async def test_beside_one_that_names_none_the_compression_is_undone(encoding: str) -> None:
    body = http(gzip.compress(b"pixels"), Content_Encoding=encoding)
    async with serving({"/": body}) as site, fetcher(OUTSIDE) as fetch:
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") == b"pixels"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"x"),
        ("zstd", b"x"),
        ("aws-chunked,br", b"x"),
        ("gzip\r\nContent-Encoding: gzip", b"x"),
        ("gzip, gzip", b"x"),
        ("gzip", b"plain"),
        ("gzip", gzip.compress(b"pixels")[:-9]),
    ],
)
async def test_an_unknown_broken_or_truncated_encoding_fails(encoding: str, body: bytes) -> None:
    async with serving({"/": http(body, Content_Encoding=encoding)}) as site, fetcher(OUTSIDE) as fetch:
        assert "Content-Encoding" in str(await error_of(fetch, f"http://{OUTSIDE}:{site.port}/"))


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "304 Not Modified", "302 Found"])
async def test_the_status_of_the_other_server_is_told(status: str) -> None:
    async with serving({"/": http(b"sorry", status)}) as site, fetcher(OUTSIDE) as fetch:
        error = await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")
    assert error.kind == "url-failed"
    assert f"HTTP status {status[:3]}" in str(error)


@pytest.mark.parametrize("answer", [http(b""), b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_an_empty_body_fails_with_its_status(answer: bytes) -> None:
    async with serving({"/": answer}) as site, fetcher(OUTSIDE) as fetch:
        assert "and an empty body" in str(await error_of(fetch, f"http://{OUTSIDE}:{site.port}/"))


@pytest.mark.parametrize("label", ["text/html", "image/jpeg", ""])
async def test_the_content_type_decides_nothing(label: str) -> None:
    async with serving({"/": http(b"\x89PNG", Content_Type=label)}) as site, fetcher(OUTSIDE) as fetch:
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") == b"\x89PNG"


async def test_closed_chattering_and_dropping_ports_of_an_allowed_address_read_alike() -> None:
    async def drop(writer: asyncio.StreamWriter) -> None:
        writer.close()

    answers: dict[str, Answer] = {
        "/ssh": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "/drop": drop,
        "/short": http(b"123", Content_Length="4"),
    }
    async with serving(answers) as site, fetcher(OUTSIDE, timeout_seconds=0.2) as fetch:
        urls = [f"http://{OUTSIDE}:{site.port}{path}" for path in answers]
        urls += [f"http://{OUTSIDE}:{closed_port(OUTSIDE)}/", f"https://{OUTSIDE}:{site.port}/"]
        texts = {str(await error_of(fetch, url)) for url in urls}
    assert texts == {"The URL could not be reached, or gave no whole HTTP answer within 0.2 s."}


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"], ids=["silent", "stalled"])
async def test_the_deadline_ends_a_fetch_and_frees_its_connection(head: bytes) -> None:
    async with serving({"/": head, "/well": http()}) as site, fetcher(OUTSIDE, timeout_seconds=0.2) as fetch:
        errors = await asyncio.gather(*(error_of(fetch, f"http://{OUTSIDE}:{site.port}/") for _ in range(70)))
        assert "within 0.2 s" in str(errors[0])
        assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/well") == b"pixels"


async def test_the_deadline_covers_redirects_and_the_resolver() -> None:
    async def slow(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return [OUTSIDE]

    policy = FetchPolicy(max_bytes=LIMIT_BYTES, timeout_seconds=0.1, allowlist=(OUTSIDE,))
    async with serving({"/": redirect("http://slow.example/")}) as site, Fetcher(policy, slow, WITHOUT_ROOTS) as fetch:
        assert (await error_of(fetch, f"http://{OUTSIDE}:{site.port}/")).kind == "url-failed"


async def test_a_name_server_that_does_not_answer_is_a_failure() -> None:
    async def unavailable(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    policy = FetchPolicy(max_bytes=LIMIT_BYTES, timeout_seconds=1)
    async with Fetcher(policy, unavailable, WITHOUT_ROOTS) as fetch:
        assert (await error_of(fetch, "http://photos.example/")).kind == "url-failed"


async def test_a_path_and_a_host_beyond_ascii_are_encoded() -> None:
    path = "/pe%C3%B1oles%20norte.png"
    async with serving({path: http()}) as site, fetcher("bücher.example", answers=[OUTSIDE]) as fetch:
        assert await fetch.fetch(f"http://BÜCHER.example:{site.port}/peñoles norte.png") == b"pixels"
        assert await fetch.fetch(f"http://xn--bcher-kva.example:{site.port}{path}") == b"pixels"
    assert site.requests[0] == site.requests[1]
    assert f"Host: xn--bcher-kva.example:{site.port}\r\n" in site.requests[0]


async def test_proxies_and_credentials_of_the_environment_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {OUTSIDE} login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with serving({"/": http(Set_Cookie="a=b")}) as site, fetcher(OUTSIDE) as fetch:
        for _ in range(2):
            assert await fetch.fetch(f"http://{OUTSIDE}:{site.port}/") == b"pixels"
    assert not any(field in request.lower() for request in site.requests for field in ("cookie", "authorization"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority that nobody knows, and two certificates of it for photos.example, one expired."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    now = datetime.now(UTC)
    valid = authority.issue_cert("photos.example")
    expired = authority.issue_cert(
        "photos.example", not_before=now - timedelta(days=2), not_after=now - timedelta(days=1)
    )
    valid.private_key_and_cert_chain_pem.write_to_path(folder / "valid.pem")
    expired.private_key_and_cert_chain_pem.write_to_path(folder / "expired.pem")
    return folder


def server_tls(certificates: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / name)
    return context


def trusting(certificates: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates / "authority.pem"))


async def test_over_tls_the_name_goes_into_sni_and_the_certificate_check(certificates: Path) -> None:
    async with (
        serving(tls=server_tls(certificates, "valid.pem")) as site,
        fetcher(OUTSIDE, answers=[INSIDE, OUTSIDE], tls=trusting(certificates)) as fetch,
    ):
        assert await fetch.fetch(f"https://photos.example:{site.port}/") == b"pixels"
        assert "certificate" in str(await error_of(fetch, f"https://other.example:{site.port}/"))
    assert site.server_names == ["photos.example", "other.example"]
    assert len(site.requests) == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_not_tried_again_unverified(
    certificates: Path,
) -> None:
    policy = FetchPolicy(max_bytes=LIMIT_BYTES, timeout_seconds=5, allowlist=(OUTSIDE,))
    async with serving(tls=server_tls(certificates, "valid.pem")) as site, Fetcher(policy) as fetch:
        error = await error_of(fetch, f"https://{OUTSIDE}:{site.port}/")
    assert error.kind == "url-failed"
    assert "certificate" in str(error)
    assert (len(site.server_names), site.requests) == (1, [])


async def test_an_expired_certificate_is_refused(certificates: Path) -> None:
    async with (
        serving(tls=server_tls(certificates, "expired.pem")) as site,
        fetcher(OUTSIDE, answers=[OUTSIDE], tls=trusting(certificates)) as fetch,
    ):
        error = await error_of(fetch, f"https://photos.example:{site.port}/")
    assert "certificate" in str(error)
    assert "expired" in str(error.__cause__)
    assert site.requests == []
