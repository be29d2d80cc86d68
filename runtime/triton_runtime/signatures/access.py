"""The model's home cannot be reached, or does not give the model."""

from typing import Final

from triton_runtime.signatures.table import Group, Signature, row

_A: Final = Group.ACCESS
_S3: Final = "check the S3 endpoint, its addressing style and the credentials that the pod has"

ROWS: Final[tuple[Signature, ...]] = (
    row(
        _A,
        "ModelAccessDenied",
        r"GatedRepoError|Cannot access gated repo for url|You are trying to access a gated repo|"
        r"Access to model \S+ is restricted",
    ),
    row(
        _A,
        "ModelAccessDenied",
        r"Invalid user token|Invalid credentials in Authorization header|"
        r"(?:token|user access token) (?:has expired|is expired|is invalid)|User Access Token .* expired",
        remedy="set `spec.source.huggingFace.tokenSecretKeyRef` to a token that is valid and has access",
    ),
    row(_A, "ModelAccessDenied", r"HfHubHTTPError: (?:Client error ')?(?:401|403) "),
    row(
        _A,
        "ModelAccessDenied",
        r"NoCredentialsError|Unable to locate credentials|InvalidAccessKeyId|SignatureDoesNotMatch|"
        r"ExpiredToken|ClientError: .*\((?:403|401|AccessDenied|Forbidden)\)|"
        r"google\.auth\.exceptions\.DefaultCredentialsError",
        remedy="check the object store's (S3, GCS) credentials that the pod has, and what they may read",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"[Cc]ould not send runai_request|File access error|runai_model_streamer.*(?:[Ff]ailed|error)|"
        r"EndpointConnectionError|Could not connect to the endpoint URL",
        "the object store (S3) cannot be read: {line}",
        _S3,
    ),
    row(_A, "ModelNotFound", r"NoSuchBucket|NoSuchKey", remedy="check bucket and path of the model"),
    row(
        _A,
        "ModelFilesMissing",
        r"HFValidationError: Repo id must .*?'(?P<where>/[^']*)'",
        "{where} is missing or is no folder",
    ),
    row(
        _A,
        "ModelFilesMissing",
        r"(?:Incorrect path_or_model_id: |Can't load the configuration of )'(?P<where>/[^']*)'",
        "{where} is missing or is no folder of a model",
    ),
    row(
        _A,
        "ModelNotFound",
        r"(?:Incorrect path_or_model_id: |Can't load the configuration of )'(?P<model>[^']*)'",
        "{model} is neither a folder nor a model on the hub that this pod may see",
    ),
    row(_A, "ModelFilesMissing", r"(?<!Local)EntryNotFoundError: 404|Entry Not Found for url"),
    row(_A, "ModelRevisionNotFound", r"Revision Not Found for url|RevisionNotFoundError"),
    row(
        _A,
        "ModelRevisionNotFound",
        r"(?P<revision>\S{1,300}) is not a valid git identifier \(branch name, tag name or commit id\)",
        "the model has no revision {revision}",
    ),
    row(_A, "ModelNotFound", r"Repository Not Found for url|RepositoryNotFoundError"),
    row(
        _A,
        "ModelFilesMissing",
        r"(?<!\S)(?P<where>/\S{1,300}) is not a local folder and is not a valid model identifier listed on",
        "{where} is missing or is no folder",
    ),
    row(
        _A,
        "ModelNotFound",
        r"(?P<model>\S{1,300}) is not a local folder and is not a valid model identifier listed on",
        "{model} is neither a folder nor a model on the hub that this pod may see",
    ),
    row(_A, "ModelNotFound", r"HFValidationError: Repo id must (?:be|use)"),
    row(
        _A,
        "NetworkUnavailable",
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|invalid peer certificate|self.signed "
        r"certificate",
        "the certificate of the hub, or of a proxy before it, is not trusted: {line}",
        "use a mirror with a trusted certificate (`hubEndpoint`), an image that holds the CA, "
        "or a claim or an image with the model; the network itself works",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"429 Client Error|429 Too Many Requests|Client error '429|Too Many Requests|rate.?limit(?:ed)? "
        r"(?:exceeded|your)",
        "the hub limits the rate of requests (429): {line}",
        "set `spec.source.huggingFace.tokenSecretKeyRef` (a token has a higher limit), or use a mirror "
        "(`hubEndpoint`), a claim or a cache that holds the model; it is tried again by itself",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"OfflineModeIsEnabled|offline mode is enabled|outgoing traffic has been disabled|"
        r"HF_HUB_OFFLINE|HF hub is offline",
        remedy="fill `spec.cache` with the model first or use a claim; or remove HF_HUB_OFFLINE from "
        "`spec.runtime.env` and allow egress",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"(?:CAS (?:service|client) error|cas-server|xethub).{0,300}\b(?:401|403)\b|"
        r"\b(?:401|403) (?:Unauthorized|Forbidden).{0,300}(?:cas-server|xethub)",
        "the hub's storage was reached and refused the download: {line}",
        "set HF_HUB_DISABLE_XET=1 in `spec.runtime.env` to go round that storage, and a valid token in "
        "`spec.source.huggingFace.tokenSecretKeyRef`; or let the proxy between allow it",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"CAS (?:service|client) error|cas-server|xethub|ReqwestMiddleware|error sending request for url",
        remedy="allow egress to the hub's storage as well (cas-server.xethub.hf.co, *.hf.co), or set "
        "HF_HUB_DISABLE_XET=1 in `spec.runtime.env`",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"Name or service not known|Temporary failure in name resolution|Failed to resolve '|"
        r"NameResolutionError|nodename nor servname|No address associated with hostname",
        remedy="check the cluster's DNS and the egress of the pod, or use a claim, an image or a mirror "
        "(`hubEndpoint`)",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"We couldn't connect to '(?P<hub>[^']+)'",
        "the hub at {hub} cannot be reached",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"error downloading or loading vocab file|HarmonyError: .*(?:download|load)|"
        r"[Ff]ailed to (?:get|download|fetch) (?:\S+ )?(?:cubin|artifact|file)|"
        r"Artifact not found locally: ",
        remedy="allow egress, or use an image or a cache that holds what is downloaded here",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"Proxy Authentication Required|Cannot connect to proxy|Tunnel connection failed|Max retries "
        r"exceeded with url|Network is unreachable|No route to host|"
        r"\b(?:httpx|httpcore|requests|aiohttp|urllib3)(?:\.\w{1,40}){0,3}\.(?:ConnectError|"
        r"ConnectTimeout|ProxyError|ReadTimeout|ConnectionError|SSLError|RemoteProtocolError|ReadError)|"
        r"5\d\d (?:Server Error|Bad Gateway|Service Unavailable)|Server error '5\d\d",
    ),
    row(
        _A,
        "NetworkUnavailable",
        r"LocalEntryNotFoundError|An error happened while trying to locate the files? on the Hub|"
        r"An error happened while trying to (?:get|locate|download)",
    ),
)
