"""kubernetes.aio's transport with a fence before each write, and connections that die with the process."""

import socket
import struct
from collections.abc import Callable
from typing import Any

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

#: Methods that change nothing.
READS = frozenset({"GET", "HEAD", "OPTIONS"})


class FencedTransport(RESTClientObject):  # type: ignore[misc]
    """kubernetes.aio's transport with a check on each write, and connections that die with the process."""

    def __init__(
        self, configuration: Configuration, timeout_seconds: float, fence: Callable[[], None]
    ) -> None:
        super().__init__(configuration)
        self._timeout = timeout_seconds
        self._fence = fence

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize,
            limit_per_host=self.configuration.tcp_connector_limit_per_host or 0,
            ssl=self.ssl_context,
            socket_factory=self._socket,
        )

    def _create_pool_manager(self) -> aiohttp.ClientSession:
        fence = self._fence

        class FencedRequest(aiohttp.ClientRequest):
            async def write_bytes(self, *args: Any, **kwargs: Any) -> None:
                # Headers and body leave together from here: the last place to ask, after any wait for a
                # connection.
                if self.method not in READS:
                    fence()
                await super().write_bytes(*args, **kwargs)

        return aiohttp.ClientSession(
            connector=self._create_connector(),
            trust_env=True,
            read_bufsize=2**21,
            request_class=FencedRequest,
        )

    def _socket(self, address: Any) -> socket.socket:
        """A socket that never delivers a write late.

        When a request is given up, or the process ends, what the kernel still holds of it is dropped
        (linger 0), and a peer that acknowledges nothing for a request's time is given up by the kernel
        even while this process is stopped.
        """
        family, kind, protocol, _, _ = address
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(self._timeout * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        return connection
