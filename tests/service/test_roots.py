"""Whose certificates are trusted, where SSL_CERT_FILE or SSL_CERT_DIR names some."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
import trustme

from service.errors import SettingsError
from service.roots import trusted_roots


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


async def answer(authority: trustme.CA, context: ssl.SSLContext) -> int:
    """The status that a server of that authority gives one who trusts by the context."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server, httpx.AsyncClient(verify=context, trust_env=False) as client:
        return (await client.get(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")).status_code


def test_certificates_of_a_file_or_a_hashed_folder_are_trusted(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    authority.cert_pem.write_to_path(folder / "company.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "company.pem"))
    assert asyncio.run(answer(authority, trusted_roots())) == 204
    monkeypatch.delenv("SSL_CERT_FILE")
    hashed = ["openssl", "x509", "-subject_hash", "-noout", "-in", str(folder / "company.pem")]
    name = subprocess.run(hashed, capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(folder / "company.pem", folder / f"{name}.0")
    for value in (str(folder), f"/absent:{folder}:"):
        monkeypatch.setenv("SSL_CERT_DIR", value)
        assert asyncio.run(answer(authority, trusted_roots())) == 204


def test_without_them_nobody_else_is_trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(answer(authority, trusted_roots()))


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_without_certificates_is_named_with_what_to_do(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "roots.pem").write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE: .* holds no certificates .* SALVER_URL_FETCH=off"):
        trusted_roots()


def test_a_folder_with_certificates_that_openssl_would_not_find_is_named(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "company.pem")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"SSL_CERT_DIR: .* .openssl rehash"):
        trusted_roots()
