"""When the API server says "not now": whether the same request is sent again, and after how long.

The rule is client-go's (`checkWait` of k8s.io/client-go/rest): a 429, and a 5xx that carries `Retry-After`,
was refused before anything was done. So any request may be sent again, a POST too.
"""

import math
import random
from collections.abc import Mapping
from typing import Any

_TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
#: Where nobody says when: what API Priority and Fairness says.
_UNSAID_SECONDS = 1.0
#: A server that says "at once" to everybody would be asked in a tight loop.
_LEAST_SECONDS = 0.1
_REWATCH_FIRST_SECONDS = 0.5
_REWATCH_LAST_SECONDS = 15.0


def asked_wait(headers: Mapping[str, str], details: Mapping[str, Any]) -> float | None:
    """The seconds that a refusal asks to wait: its `Retry-After` header, else its Status' retryAfterSeconds.

    None where neither is a number of seconds; the date form of the header is what no API server sends.
    """
    said: Any  # whatever a proxy in between may send
    for said in (headers.get("Retry-After"), details.get("retryAfterSeconds")):
        try:
            seconds = float(said)
        except (TypeError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def seconds_until_retry(status: int, asked: float | None, *, is_read: bool) -> float | None:
    """After how many seconds to send a refused request again; None: not at all.

    A 503 that does not say when may come from a proxy that had sent the request on: only reads are repeated.
    """
    refused_unprocessed = status == _TOO_MANY_REQUESTS or (status >= 500 and asked is not None)
    if not refused_unprocessed and not (status == _UNAVAILABLE and is_read):
        return None
    wait = max(_UNSAID_SECONDS if asked is None else asked, _LEAST_SECONDS)
    return wait * random.uniform(1.0, 1.25)  # noqa: S311 - all who were refused at once come back spread


def seconds_until_rewatch(failures: int) -> float:
    """Seconds until a list or watch that failed `failures` times in a row, 1 or more, begins anew."""
    delay = min(_REWATCH_FIRST_SECONDS * 2.0 ** min(failures - 1, 10), _REWATCH_LAST_SECONDS)
    return delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
