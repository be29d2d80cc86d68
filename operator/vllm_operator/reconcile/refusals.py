"""What a refusal by the API server means for the model."""

import re
from typing import Final

from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.kube.apply import NameTaken
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.resources import describe
from vllm_operator.observed.state import Object
from vllm_operator.reconcile.errors import ReconcileError, TerminalError, TransientError

#: How Kubernetes words that a field keeps the value it was made with.
_IMMUTABLE: Final = re.compile(r"immutable|may not (be )?change", re.I)


def transient(error: ApiError) -> TransientError:
    """Time may cure it."""
    seconds = error.throttled_seconds
    return TransientError(str(error), throttled_seconds=seconds, unanswering=error.status == 0)


def name_conflict(error: NameTaken) -> Problem:
    """Somebody else's object is in the way."""
    message = f"{describe(error.live)} exists and does not belong to this VLLMModel; it is left as it is"
    return Problem(Reason.NAME_CONFLICT, message, stalled=False)


def refused(wanted: Object, live: Object | None, error: ApiError) -> ReconcileError:
    """Why a child could not be written: the spec's fault, the object's, the cluster's policy, or bad luck."""
    what = f"{describe(wanted)} was refused by the API server: {error.message}"
    if error.namespace_terminating:
        return TerminalError(what)
    if error.invalid and live is not None and _IMMUTABLE.search(error.message):
        # Ours are made so that this never happens: somebody else made this one.
        made = f"{describe(live)} was not made by this operator and cannot be changed into what it should be"
        return TerminalError(what, Problem(Reason.NAME_CONFLICT, f"{made}: {error.message}", stalled=False))
    if error.invalid:
        return TerminalError(what, Problem(Reason.INVALID_SPEC, what, stalled=True))
    if error.status == 403:
        return TransientError(what, Problem(Reason.ADMISSION_REJECTED, what, stalled=False))
    return transient(error)
