"""Hypothesis strategies for valid specs: every field, every source and cache kind, within bounds."""

from typing import Any

from hypothesis import strategies as st

NAMES = st.from_regex(r"\A[a-z]([-a-z0-9]{0,50}[a-z0-9])?\Z")
OBJECT_NAMES = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\Z")
PATHS = st.from_regex(r"\A[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}){0,2}\Z")
REPOSITORIES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}/[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")
IMAGES = st.from_regex(r"\A[a-z0-9]{1,8}(\.[a-z]{2,3})?(/[a-z0-9]{1,8}){1,2}:[a-z0-9][a-z0-9.]{0,9}\Z")
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=30)
QUANTITIES = st.sampled_from([1, 4, "500m", "1Gi", "16Gi", "1.5", "2e3"])


def records(required: dict[str, Any] | None = None, **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required or {}, optional=optional)


def hub(*, pinned: bool) -> st.SearchStrategy[dict[str, Any]]:
    more = {
        "revision": st.sampled_from(["main", "v1.0", "a" * 40]),
        "tokenSecretKeyRef": st.fixed_dictionaries({"name": OBJECT_NAMES, "key": st.just("token")}),
    }
    return records({"repository": REPOSITORIES}, **(more if pinned else {}))


def sources(*, pinned: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.fixed_dictionaries({"huggingFace": hub(pinned=pinned)}),
        st.fixed_dictionaries({"persistentVolumeClaim": records({"claimName": OBJECT_NAMES}, path=PATHS)}),
        st.fixed_dictionaries(
            {
                "image": records(
                    {"reference": IMAGES},
                    pullPolicy=st.sampled_from(["Always", "IfNotPresent", "Never"]),
                    path=PATHS,
                )
            }
        ),
    )


ADAPTERS = st.lists(
    st.fixed_dictionaries({"name": NAMES, "source": sources(pinned=False)}),
    max_size=3,
    unique_by=lambda adapter: adapter["name"],
)
ENGINE_ARGS = records(
    max_model_len=st.one_of(st.just(-1), st.integers(1, 100_000)),
    tensor_parallel_size=st.integers(1, 4),
    gpu_memory_utilization=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**31),
    enforce_eager=st.booleans(),
    enable_prefix_caching=st.booleans(),
)
RUNTIME = records(
    imagePullSecrets=st.lists(
        st.fixed_dictionaries({"name": OBJECT_NAMES}), max_size=2, unique_by=lambda secret: secret["name"]
    ),
    env=st.lists(
        records({"name": st.sampled_from(["OMP_NUM_THREADS", "NCCL_DEBUG", "TZ"])}, value=TEXT),
        max_size=3,
        unique_by=lambda variable: variable["name"],
    ),
    logLevel=st.sampled_from(["error", "warning", "info", "debug"]),
    startupTimeoutSeconds=st.integers(30, 86400),
    drainSeconds=st.integers(0, 3600),
    frontEnds=st.integers(1, 8),
)
PROBE = records(
    generate=records(prompt=TEXT, maxTokens=st.integers(1, 64), expectContains=TEXT),
    periodSeconds=st.integers(5, 300),
    timeoutSeconds=st.integers(5, 20),
    failureThreshold=st.integers(1, 10),
)
SCHEDULING = records(
    nodeSelector=st.dictionaries(st.sampled_from(["zone", "example.com/gpu"]), st.just("a"), max_size=2),
    tolerations=st.lists(records({"operator": st.just("Exists")}, key=st.just("nvidia.com/gpu")), max_size=2),
    topologySpreadConstraints=st.just(
        [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}]
    ),
)
ROLLOUT = st.one_of(
    st.just({"type": "Recreate"}),
    st.fixed_dictionaries(
        {
            "rollingUpdate": st.fixed_dictionaries(
                {"maxSurge": st.sampled_from([1, 3, "25%"]), "maxUnavailable": st.just(0)}
            )
        }
    ),
)

SPECS = records(
    {"source": sources()},
    servedName=st.from_regex(r"\A[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"),
    engineArgs=ENGINE_ARGS,
    adapters=ADAPTERS,
    replicas=st.integers(0, 1000),
    gpus=st.fixed_dictionaries({"count": st.sampled_from([0, 4, 8])}),
    resources=records(
        requests=records(cpu=QUANTITIES, memory=st.just("8Gi")), limits=records(memory=st.just("16Gi"))
    ),
    sharedMemory=st.fixed_dictionaries({"sizeLimit": st.sampled_from(["1Gi", "64Mi", "16Gi"])}),
    cache=st.one_of(
        st.fixed_dictionaries({"emptyDir": records(sizeLimit=QUANTITIES)}),
        st.fixed_dictionaries({"persistentVolumeClaim": st.fixed_dictionaries({"claimName": OBJECT_NAMES})}),
    ),
    runtime=RUNTIME,
    probe=PROBE,
    scheduling=SCHEDULING,
    rollout=ROLLOUT,
    paused=st.booleans(),
)
