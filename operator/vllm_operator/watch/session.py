"""kopf's way to the API server: an HTTP session of ours, so that each answer to kopf is seen here, too."""

from collections.abc import Callable
from types import SimpleNamespace

import aiohttp
import kopf
from yarl import URL

from vllm_operator.kube.credentials import Credentials

#: Told of each answer: the URL that was asked, and the HTTP status.
Answered = Callable[[URL, int], None]


def session(credentials: Credentials, answered: Answered) -> kopf.AiohttpSession:
    """What kopf's login returns. kopf closes the session when it has no more use for it."""
    connection = kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_path,
        ca_data=credentials.ca_data,
        insecure=credentials.insecure,
        scheme=credentials.scheme,
        token=credentials.token,
        certificate_path=credentials.certificate_path,
        private_key_path=credentials.private_key_path,
    )
    opened = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=connection.as_ssl_context()),
        headers=connection.as_http_headers(),
        proxy=credentials.proxy_url,
        trace_configs=[_trace(answered)],
    )
    return kopf.AiohttpSession(server=credentials.server, aiohttp_session=opened)


def _trace(answered: Answered) -> aiohttp.TraceConfig:
    """A watch's answer counts when its headers are there: the body of one that works has no end."""

    async def ended(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, seen: aiohttp.TraceRequestEndParams
    ) -> None:
        answered(seen.url, seen.response.status)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(ended)
    return trace
