"""`source` and `adapters` of a spec: where the files of a model come from."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from vllm_operator.api.base import (
    ATOMIC_MAP,
    ImageReference,
    Model,
    ObjectName,
    RelativePath,
    Rule,
    matches,
    one_of,
)

HubRepository = Annotated[
    str,
    Field(min_length=1, max_length=193),
    matches(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?",
        "must be a Hugging Face repository such as 'facebook/opt-125m', not a URL or a path",
    ),
]
HubRevision = Annotated[
    str,
    Field(min_length=1, max_length=255),
    matches(r"[A-Za-z0-9][A-Za-z0-9._/-]*", "must be a branch, a tag or a commit id"),
]


class SecretKeyRef(Model):
    """A key of a Secret in the same namespace."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP

    name: Annotated[ObjectName, Field(description="Name of the Secret.")]
    key: Annotated[
        str,
        Field(min_length=1, max_length=253, description="Key in the Secret."),
        matches(r"[-._a-zA-Z0-9]+", "must consist of letters, digits, '-', '_' or '.'"),
    ]


class HuggingFaceSource(Model):
    """A repository of the Hugging Face Hub."""

    repository: Annotated[HubRepository, Field(description="Repository, as `organisation/name`.")]
    revision: Annotated[
        HubRevision | None,
        Field(
            description="Branch, tag or commit id; a 40-character commit id is the only one that never moves."
        ),
    ] = None
    token_secret_key_ref: Annotated[
        SecretKeyRef | None,
        Field(
            description="Secret key with the access token. Only the pod reads it; the operator never does."
        ),
    ] = None


class ClaimSource(Model):
    """A directory of a PersistentVolumeClaim in the same namespace, mounted read-only."""

    claim_name: Annotated[ObjectName, Field(description="Name of the claim.")]
    path: Annotated[
        RelativePath | None, Field(description="Directory in the volume; absent means its root.")
    ] = None


class ImageSource(Model):
    """A directory of an OCI image, mounted read-only as an image volume; nothing of it is executed."""

    reference: Annotated[ImageReference, Field(description="Image reference; a digest never moves.")]
    pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"] | None,
        Field(
            description="When the image is pulled; absent means Always for `:latest`, IfNotPresent otherwise."
        ),
    ] = None
    path: Annotated[
        RelativePath | None, Field(description="Directory in the image; absent means its root.")
    ] = None


_SOURCES: Final = ("hugging_face", "persistent_volume_claim", "image")


class Source(Model):
    """Where files come from: exactly one of `huggingFace`, `persistentVolumeClaim` and `image`."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.huggingFace), has(self.persistentVolumeClaim), has(self.image)].exists_one(set, set)",
            "must have exactly one of `huggingFace`, `persistentVolumeClaim` and `image`",
            lambda source: one_of(source, _SOURCES) == 1,
        ),
    )

    hugging_face: Annotated[HuggingFaceSource | None, Field(description="A Hugging Face repository.")] = None
    persistent_volume_claim: Annotated[ClaimSource | None, Field(description="A PersistentVolumeClaim.")] = (
        None
    )
    image: Annotated[ImageSource | None, Field(description="An OCI image.")] = None


_NAME_PATTERN: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
ServedName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    matches(
        _NAME_PATTERN,
        "must be at most 63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit",
    ),
]


class Adapter(Model):
    """A LoRA adapter."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.source.huggingFace) || !has(self.source.huggingFace.revision)",
            "must not be set for an adapter: vLLM would not use it; "
            "use a claim or an image to fix the adapter's version",
            lambda adapter: (
                adapter.source.hugging_face is None or adapter.source.hugging_face.revision is None
            ),
            ".source.huggingFace.revision",
        ),
        Rule(
            "!has(self.source.huggingFace) || !has(self.source.huggingFace.tokenSecretKeyRef)",
            "must not be set for an adapter: the token of `spec.source.huggingFace` is used",
            lambda adapter: (
                adapter.source.hugging_face is None
                or adapter.source.hugging_face.token_secret_key_ref is None
            ),
            ".source.huggingFace.tokenSecretKeyRef",
        ),
    )

    name: Annotated[ServedName, Field(description="Name by which requests choose the adapter (`lora_name`).")]
    source: Annotated[Source, Field(description="Where the adapter's files come from.")]
