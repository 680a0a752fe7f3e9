"""TLS on both data ports with real certificates: reload under load, torn and expired files, client certificates."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from cryptography import x509

from pillion.protocol.protos import open_inference_pb2 as pb
from tests.certificates import Authority
from tests.integration.server.process import served
from tests.waiting import until, until_now

if TYPE_CHECKING:
    from tests.certificates import Issued
    from tests.integration.server.process import ServerProcess


class Mounted:
    """A Secret as the kubelet mounts it: files are links into ``..data``, a link that is swapped as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        folder.mkdir()

    def put(self, **files: str) -> None:
        """Replace the whole content."""
        self._count += 1
        version = self.folder / f"..version-{self._count}"
        version.mkdir()
        for name, text in files.items():
            (version / name.replace("_", ".")).write_text(text)
            link = self.folder / name.replace("_", ".")
            if not link.is_symlink():
                link.symlink_to(f"..data/{link.name}")
        fresh = self.folder / "..data_new"
        fresh.symlink_to(version.name)
        fresh.rename(self.folder / "..data")

    def flags(self, *, mutual: bool = False) -> list[str]:
        """The settings that point here."""
        flags = ["--tls-server-cert", str(self.folder / "tls.crt"), "--tls-server-key", str(self.folder / "tls.key")]
        return flags + (["--tls-client-cert", str(self.folder / "ca.crt")] if mutual else [])


def client_context(ca: Authority, identity: Issued | None = None, folder: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca.pem)
    if identity is not None and folder is not None:
        context.load_cert_chain(*identity.write(folder, f"client-{identity.serial:x}"))
    return context


async def https(server: ServerProcess, context: ssl.SSLContext) -> tuple[int, int]:
    """A request over a new connection: status, and serial number of the server's certificate."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.ports["http"], ssl=context, server_hostname="localhost"
    )
    try:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        shown = tls.getpeercert(binary_form=True)
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        return int(answer.split(b" ", 2)[1]), x509.load_der_x509_certificate(shown or b"").serial_number
    finally:
        writer.close()


async def live_over_grpc(server: ServerProcess, credentials: grpc.ChannelCredentials) -> bool:
    """A call over a new connection."""
    # A private subchannel pool, or channels of equal arguments would share one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"localhost:{server.ports['grpc']}", credentials, options) as channel:
        live = channel.unary_unary(
            "/inference.GRPCInferenceService/ServerLive",
            request_serializer=pb.ServerLiveRequest.SerializeToString,
            response_deserializer=pb.ServerLiveResponse.FromString,
        )
        answer: pb.ServerLiveResponse = await live(pb.ServerLiveRequest(), timeout=60)
        return answer.live


@pytest.mark.parametrize(("engine", "rotations"), [("grpcio", 40), ("asyncio", 10)])
async def test_rotations_under_load_fail_no_handshake_on_either_protocol(
    tmp_path: Path, config: Path, engine: str, rotations: int
) -> None:
    ca = Authority()
    mounted = Mounted(tmp_path / "tls")
    first = ca.issue()
    mounted.put(tls_crt=first.cert, tls_key=first.key)
    issued = [ca.issue() for _ in range(rotations)]
    context, credentials = client_context(ca), grpc.ssl_channel_credentials(ca.pem.encode())
    env = {"PILLION_TLS__POLL_SECONDS": "0.1", "PILLION_GRPC__ENGINE": engine}
    with served(tmp_path, config, *mounted.flags(), ready=False, env=env) as server:
        serials: list[int] = []
        calls: list[bool] = []
        over = asyncio.Event()

        async def handshake_over_https() -> None:
            while not over.is_set():
                status, serial = await https(server, context)
                assert 200 == status
                serials.append(serial)

        async def handshake_over_grpc() -> None:
            while not over.is_set():
                calls.append(await live_over_grpc(server, credentials))

        load = [asyncio.create_task(handshake_over_https()), asyncio.create_task(handshake_over_grpc())]
        for new in issued:
            mounted.put(tls_crt=new.cert, tls_key=new.key)
            await until(lambda new=new: new.serial in serials[-3:] or any(task.done() for task in load))  # type: ignore[misc] # the default binds the loop's value
        await until(lambda: len(calls) > rotations or any(task.done() for task in load))
        over.set()
        await asyncio.gather(*load)
        assert all(calls)
        assert {first.serial, *(new.serial for new in issued)} >= set(serials)
        until_now(lambda: rotations == server.metric('pillion_tls_reloads_total{result="succeeded"}'))
        assert 0 == server.metric('pillion_tls_reloads_total{result="failed"}')


async def test_a_torn_or_expired_pair_keeps_the_old_one_and_says_so(tmp_path: Path, config: Path) -> None:
    ca = Authority()
    good, other, expired = ca.issue(), ca.issue(), ca.issue(days=-0.5)
    mounted = Mounted(tmp_path / "tls")
    mounted.put(tls_crt=good.cert, tls_key=good.key)
    context = client_context(ca)
    failed = 'pillion_tls_reloads_total{result="failed"}'
    with served(tmp_path, config, *mounted.flags(), ready=False, env={"PILLION_TLS__POLL_SECONDS": "0.1"}) as server:
        expiry = server.metric("pillion_tls_certificate_expiry_timestamp_seconds")
        mounted.put(tls_crt=other.cert, tls_key=good.key)
        until_now(lambda: server.counted(failed) == 1)
        assert (200, good.serial) == await https(server, context)
        mounted.put(tls_crt=expired.cert, tls_key=expired.key)
        until_now(lambda: server.counted(failed) == 2)
        assert (200, good.serial) == await https(server, context)
        assert expiry == server.metric("pillion_tls_certificate_expiry_timestamp_seconds")
        reasons = [line["message"] for line in server.wait_logged("kept the certificate in use", 2)]
        assert "does not belong to" in reasons[0]
        assert "expired" in reasons[1]
        mounted.put(tls_crt=other.cert, tls_key=other.key)
        until_now(lambda: server.counted('pillion_tls_reloads_total{result="succeeded"}') == 1)
        assert (200, other.serial) == await https(server, context)


@pytest.mark.parametrize("engine", ["grpcio", "asyncio"])
async def test_mutual_tls_refuses_who_has_no_certificate_of_the_client_ca(
    tmp_path: Path, config: Path, engine: str
) -> None:
    ca, clients, strangers = Authority(), Authority("clients"), Authority("strangers")
    mine = ca.issue()
    mounted = Mounted(tmp_path / "tls")
    mounted.put(tls_crt=mine.cert, tls_key=mine.key, ca_crt=clients.pem)
    env = {"PILLION_GRPC__ENGINE": engine}
    with served(tmp_path, config, *mounted.flags(mutual=True), ready=False, env=env) as server:
        assert "mutual TLS" == server.logged("listening with")[0]["tls"]
        known, stranger = clients.issue(), strangers.issue()
        assert (200, mine.serial) == await https(server, client_context(ca, known, tmp_path))
        for refused in (client_context(ca), client_context(ca, stranger, tmp_path)):
            with pytest.raises((ssl.SSLError, ConnectionError, IndexError, ValueError)):
                await https(server, refused)
        root = ca.pem.encode()
        assert await live_over_grpc(server, grpc.ssl_channel_credentials(root, known.key.encode(), known.cert.encode()))
        for credentials in (
            grpc.ssl_channel_credentials(root),
            grpc.ssl_channel_credentials(root, stranger.key.encode(), stranger.cert.encode()),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await live_over_grpc(server, credentials)
            assert grpc.StatusCode.UNAVAILABLE == error.value.code()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_does_not_outlive_a_client_ca_that_was_taken_away(
    tmp_path: Path, config: Path, version: ssl.TLSVersion
) -> None:
    import socket

    ca, old, new = Authority(), Authority("old clients"), Authority("new clients")
    mine = ca.issue()
    mounted = Mounted(tmp_path / "tls")
    mounted.put(tls_crt=mine.cert, tls_key=mine.key, ca_crt=old.pem)
    context = client_context(ca, old.issue(), tmp_path)
    context.minimum_version = context.maximum_version = version

    def ask(server: ServerProcess, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        with (
            socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
        ):
            tls.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := tls.recv(4096):
                answer += piece
            assert b"200" in answer.split(b"\r\n")[0]
            return tls.session

    with served(
        tmp_path, config, *mounted.flags(mutual=True), ready=False, env={"PILLION_TLS__POLL_SECONDS": "0.1"}
    ) as server:
        session = ask(server, None)
        mounted.put(tls_crt=mine.cert, tls_key=mine.key, ca_crt=new.pem)
        until_now(lambda: server.counted('pillion_tls_reloads_total{result="succeeded"}') == 1)
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            ask(server, session)


async def test_inline_certificates_are_served_and_never_shown(tmp_path: Path, config: Path) -> None:
    ca = Authority()
    mine = ca.issue()
    env = {"PILLION_TLS__SERVER__CERT": mine.cert, "PILLION_TLS__SERVER__KEY": mine.key}
    with served(tmp_path, config, ready=False, env=env | {"TMPDIR": str(tmp_path)}) as server:
        assert (200, mine.serial) == await https(server, client_context(ca))
        assert "PRIVATE" not in server.log_file.read_text()
        assert [] == list(tmp_path.glob("*.pem"))  # noqa: ASYNC240 - a look at an empty folder


async def test_a_client_that_does_not_trust_our_ca_refuses(tmp_path: Path, config: Path) -> None:
    mine = Authority().issue()
    mounted = Mounted(tmp_path / "tls")
    mounted.put(tls_crt=mine.cert, tls_key=mine.key)
    with (
        served(tmp_path, config, *mounted.flags(), ready=False) as server,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        await https(server, client_context(Authority()))


async def test_handshakes_that_are_not_finished_are_bounded_in_number_and_in_time(tmp_path: Path, config: Path) -> None:
    ca, most = Authority(), 40
    mounted = Mounted(tmp_path / "tls")
    issued = ca.issue()
    mounted.put(tls_crt=issued.cert, tls_key=issued.key)
    env = {
        "PILLION_LIMITS__MAX_CONNECTIONS": str(most),
        "PILLION_LIMITS__HEADER_TIMEOUT_SECONDS": "4",
    }
    hello = b"\x16\x03\x01\x02\x00\x01\x00"  # the beginning of a greeting that never goes on
    with served(tmp_path, config, *mounted.flags(), env=env) as server:
        before = descriptors(server)
        silent = [await asyncio.open_connection("127.0.0.1", server.ports["http"]) for _ in range(10 * most)]
        for _, writer in silent:
            writer.write(hello)
        ends = [asyncio.create_task(_end(reader)) for reader, _ in silent]
        await until(lambda: sum(end.done() for end in ends) >= 9 * most - 1)
        assert descriptors(server) - before <= most + 1
        assert server.metric('pillion_http_refused_total{limit="connections"}') >= 9 * most - 1
        await asyncio.wait_for(asyncio.gather(*ends), 60)  # those that were let in are cut when their time is up
        assert (200, issued.serial) == await https(server, client_context(ca))
        await until(lambda: descriptors(server) <= before + 1)
        for _, writer in silent:
            writer.close()


async def _end(reader: asyncio.StreamReader) -> None:
    """Wait until the server has closed the connection."""
    with contextlib.suppress(ConnectionError):
        await reader.read()


def descriptors(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
