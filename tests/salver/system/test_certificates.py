"""The certificates that SSL_CERT_FILE and SSL_CERT_DIR name."""

import asyncio
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme

from salver.errors import VariableError
from salver.system.certificates import no_certificates, own_certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_certificates_of_a_file_or_a_folder_are_believed(authority: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "company.pem"
    file.write_bytes("# Für alle\n".encode() + authority.cert_pem.bytes())
    context = own_certificates({"SSL_CERT_FILE": str(file)})
    assert context is not None
    assert context.cert_store_stats()["x509_ca"] == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    (tmp_path / "hashed").mkdir()
    (tmp_path / "hashed" / "9d66eef0.0").write_bytes(authority.cert_pem.bytes())
    assert own_certificates({"SSL_CERT_DIR": str(tmp_path / "hashed")}) is not None
    assert own_certificates({"SSL_CERT_DIR": f"{tmp_path / 'none'}:{tmp_path / 'hashed'}"}) is not None
    assert own_certificates({"SSL_CERT_FILE": str(file), "SSL_CERT_DIR": "/none"}) is not None


@pytest.mark.parametrize("environment", [{}, {"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}])
def test_where_none_is_named_there_are_none_of_ones_own(environment: dict[str, str]) -> None:
    assert own_certificates(environment) is None


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "cannot be read (No such file or directory)"),
    "a folder": (Path.mkdir, "cannot be read (It is a folder, not a file)"),
    "empty": (Path.touch, "holds no certificates"),
    "garbage": (lambda path: path.write_bytes(b"\xff\x00 no certificate"), "holds no certificates"),
    "a pipe": (os.mkfifo, "cannot be read (It is a pipe, not a file)"),
    "in circles": (lambda path: path.symlink_to(path), "cannot be read (Too many levels of symbolic links)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_without_certificates_is_named_with_its_variable(tmp_path: Path, fault: str) -> None:
    make, words = FAULTS[fault]
    make(tmp_path / "certs.pem")
    with pytest.raises(VariableError) as refusal:
        own_certificates({"SSL_CERT_FILE": str(tmp_path / "certs.pem")})
    assert str(refusal.value).startswith(f"SSL_CERT_FILE names {tmp_path}/certs.pem, which {words}")
    assert "or unset it" in str(refusal.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_without_certificates_is_named_with_its_variable(tmp_path: Path, fault: str) -> None:
    FAULTS[fault][0](tmp_path / "certs")
    with pytest.raises(VariableError, match=r"SSL_CERT_DIR names .*/certs, .* or unset it"):
        own_certificates({"SSL_CERT_DIR": str(tmp_path / "certs")})
    with pytest.raises(VariableError, match="SSL_CERT_DIR names no folder"):
        own_certificates({"SSL_CERT_DIR": ":"})


def test_a_path_that_no_system_takes_is_named(tmp_path: Path) -> None:
    with pytest.raises(VariableError, match="SSL_CERT_FILE names"):
        own_certificates({"SSL_CERT_FILE": "a\0b"})


def test_what_needs_no_certificates_believes_none() -> None:
    context = no_certificates()
    assert context.cert_store_stats() == {"x509": 0, "crl": 0, "x509_ca": 0}
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def answer(authority: trustme.CA, context: ssl.SSLContext | None) -> int:
    """The status that a server of that authority gives one who trusts by the context."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    assert context is not None
    async with server, httpx.AsyncClient(verify=context, trust_env=False) as client:
        return (await client.get(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")).status_code


def test_servers_of_theirs_are_trusted_by_file_and_by_folder(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    authority.cert_pem.write_to_path(folder / "company.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "company.pem"))
    assert asyncio.run(answer(authority, own_certificates())) == 204
    monkeypatch.delenv("SSL_CERT_FILE")
    hashed = ["openssl", "x509", "-subject_hash", "-noout", "-in", str(folder / "company.pem")]
    name = subprocess.run(hashed, capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(folder / "company.pem", folder / f"{name}.0")
    for value in (str(folder), f"/absent:{folder}:"):
        monkeypatch.setenv("SSL_CERT_DIR", value)
        assert asyncio.run(answer(authority, own_certificates())) == 204


def test_nobody_else_is_trusted(authority: trustme.CA, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "others.pem")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(answer(authority, own_certificates({"SSL_CERT_FILE": str(tmp_path / "others.pem")})))
