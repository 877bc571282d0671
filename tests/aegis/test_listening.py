"""The socket that `aegis serve` listens on."""

from __future__ import annotations

import asyncio
import socket

from aegis.cli.serve import listening_socket
from aegis.settings import Settings
from tests.servers import free_port


async def test_answers_are_sent_at_once() -> None:
    """Without TCP_NODELAY each answer of two pieces waits for the other side's delayed acknowledgement: 40 ms."""
    delayed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        delayed.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with listening_socket(Settings(port=free_port())) as taken:
        server = await asyncio.start_server(accepted, sock=taken.dup())
        _, writer = await asyncio.open_connection(*taken.getsockname())
        assert await asyncio.wait_for(delayed, 10)
        writer.close()
        server.close()
