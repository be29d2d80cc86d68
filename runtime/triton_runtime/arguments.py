"""The command line of tritonserver. Its options differ by release, so the image holds them.

Every option below was checked against `tritonserver --help` of 2.51 and the option table of 2.73.
"""

import math
from collections.abc import Mapping
from typing import Final

from triton_runtime.configuration import Configuration
from triton_runtime.drain import TRITON_MARGIN_SECONDS

#: Endpoints that change the server or reach into the pod's memory; an inference client needs none of them.
RESTRICTED: Final = "model-repository,shared-memory,trace,logging"
RESTRICTED_HEADER: Final = "x-triton-vllm-admin"

#: First release with the switch for client shared memory (which is off by default from then on).
CLIENT_SHARED_MEMORY_SWITCH: Final = (2, 69)

#: A client that vanished without closing is found by a ping a minute.
KEEPALIVE_MILLISECONDS: Final = 60_000
#: A ClusterIP pins a connection to one pod, and Triton refuses new requests on it once it is told to end. So
#: clients are asked to reconnect well within the time that endpoints have to move (gRPC varies the age by
#: 10 %): by then no kept connection leads here. No grace period is set: streams run to their end.
CONNECTION_AGE_OF_DRAIN_DELAY: Final = 0.6
LEAST_CONNECTION_AGE_SECONDS: Final = 2.0
#: How long Triton waits for the Python process that will load the model to come up (default 30 s).
STUB_TIMEOUT_SECONDS: Final = 120

_LOG_FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "error": ("--log-error=true", "--log-warning=false", "--log-info=false"),
    "warning": ("--log-error=true", "--log-warning=true", "--log-info=false"),
    "info": ("--log-error=true", "--log-warning=true", "--log-info=true"),
    "debug": ("--log-error=true", "--log-warning=true", "--log-info=true", "--log-verbose=1"),
}
_VLLM_LOG_LEVELS: Final[Mapping[str, str]] = {
    "error": "ERROR",
    "warning": "WARNING",
    "info": "INFO",
    "debug": "DEBUG",
}


def command(configuration: Configuration, admin_key: str) -> list[str]:
    """The argument list of tritonserver; `admin_key` locks the endpoints that only an administrator uses."""
    root = configuration.server_root
    connection_age = max(
        LEAST_CONNECTION_AGE_SECONDS, CONNECTION_AGE_OF_DRAIN_DELAY * configuration.drain_delay
    )
    flags = [
        str(root / "bin" / "tritonserver"),
        f"--model-repository={configuration.model_repository}",
        f"--backend-directory={root / 'backends'}",
        "--model-control-mode=none",
        "--exit-on-error=true",
        "--strict-readiness=true",
        f"--exit-timeout-secs={math.ceil(configuration.exit_timeout + TRITON_MARGIN_SECONDS)}",
        f"--http-port={configuration.http_port}",
        f"--grpc-port={configuration.grpc_port}",
        f"--metrics-port={configuration.metrics_port}",
        "--allow-metrics=true",
        "--allow-sagemaker=false",
        "--allow-vertex-ai=false",
        f"--http-restricted-api={RESTRICTED}:{RESTRICTED_HEADER}={admin_key}",
        f"--grpc-restricted-protocol={RESTRICTED}:{RESTRICTED_HEADER}={admin_key}",
        f"--grpc-keepalive-time={KEEPALIVE_MILLISECONDS}",
        "--grpc-keepalive-timeout=20000",
        "--grpc-keepalive-permit-without-calls=1",
        "--grpc-http2-max-pings-without-data=0",
        "--grpc-http2-min-recv-ping-interval-without-data=10000",
        f"--grpc-max-connection-age={round(connection_age * 1000)}",
        f"--backend-config=python,stub-timeout-seconds={STUB_TIMEOUT_SECONDS}",
        *_LOG_FLAGS[configuration.log_level],
    ]
    if configuration.triton_release >= CLIENT_SHARED_MEMORY_SWITCH:
        flags.append("--allow-client-shm=false")
    return flags


def environment(configuration: Configuration, env: Mapping[str, str], state_file: str) -> dict[str, str]:
    """What tritonserver and the backend see: the container's environment, and what only this run knows."""
    ours = {
        "VLLM_LOGGING_LEVEL": _VLLM_LOG_LEVELS[configuration.log_level],
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # A hung engine is ended by SIGABRT, and leaves its stacks in the log.
        "PYTHONFAULTHANDLER": "1",
    }
    return {**ours, **env, "TRITON_VLLM_ENGINE_STATE_FILE": state_file}
