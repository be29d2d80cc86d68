"""Brings one VLLMModel's children and status to what its spec asks for, from wherever they are.

1 get the model                          5 prune what is ours and no longer wanted
2 parse the spec, accept it as revision  6 compute the status
3 build the desired children             7 if it differs: post its Events, apply it
4 apply each of them
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.api.meta import API_VERSION, KIND, STATUS_FIELD_MANAGER
from vllm_operator.api.spec import VLLMModelSpec
from vllm_operator.api.v1alpha1 import ModelIdentity, SpecInvalid, parse_model
from vllm_operator.desired import policy, state
from vllm_operator.desired.revision import Revision, SpecRejected, accept, newest
from vllm_operator.kube.apply import Applier, BeingReplaced, NameTaken
from vllm_operator.kube.client import ApiError, KubeClient
from vllm_operator.kube.drift import difference
from vllm_operator.kube.resources import VLLM_MODELS, describe
from vllm_operator.observed.state import Object, ObservedState, ProbeResult
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.reconcile.errors import ReconcileError, TerminalError, TransientError
from vllm_operator.reconcile.events import EventPoster
from vllm_operator.reconcile.targets import probe_targets
from vllm_operator.reconcile.worker import Done, Gone, Outcome, RequeueAfter
from vllm_operator.settings import Settings
from vllm_operator.status.compute import StatusInputs, compute
from vllm_operator.telemetry import logs, metrics

_log = logs.get("reconcile")

#: No event tells when a foreign object leaves a name (the watches see only labelled objects).
_NAME_CONFLICT_SECONDS = 10.0


class Probes(Protocol):
    """What the reconciler needs of the prober."""

    def watch(self, key: Key, targets: Sequence[ProbeTarget]) -> None:
        """Probe exactly these pods of the model from now on."""

    def results(self, key: Key) -> Mapping[str, ProbeResult]:
        """The standing verdicts by pod UID."""


@dataclass(frozen=True, slots=True)
class _Decision:
    """What step 2 came to: the revision the children follow, and what is wrong with the spec."""

    revision: Revision | None
    number: int
    spec: VLLMModelSpec | None
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Reconciler:
    """Holds what outlives one reconcile; the models themselves are remembered only by the cluster."""

    client: KubeClient
    store: ObservedStore
    applier: Applier
    probes: Probes
    settings: Settings
    leading_since: datetime
    events: EventPoster
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def reconcile(self, key: Key) -> Outcome:
        """One pass over the steps above."""
        # 1 get the model
        model = await self._get_model(key)
        if model is None:
            self._forget(key)
            return Gone()
        identity = ModelIdentity.of(model)
        if identity.deletion_timestamp:
            self.probes.watch(key, ())
            return Done()  # the children go with it: Kubernetes' garbage collection

        # 2 parse the spec, accept it as revision
        observed = self._observe(key, identity)
        decision = self._decide(model, observed)
        replicas = _replicas(identity, observed)

        failure: ReconcileError | None = None
        if decision.revision is not None and not identity.paused:
            try:
                # 3 build the desired children, 4 apply each of them
                await self._apply_children(model, identity, decision.revision, decision.number, replicas)
                # 5 prune what is ours and no longer wanted
                await self._prune(key, identity, decision.revision)
            except ReconcileError as error:
                failure = error

        # 6 compute the status, 7 apply it if it differs: also when a step above failed
        problems = decision.problems + (failure.problems if failure else ())
        inputs = StatusInputs(
            identity=identity,
            problems=problems,
            revision=decision.revision,
            observed=self._observe(key, identity),
            spec=decision.spec,
            replicas=replicas,
            leading_since=self.leading_since,
            warnings=decision.warnings,
        )
        if not await self._report(model, inputs):
            return Gone()
        targets = probe_targets(inputs.observed, decision.revision)
        self.probes.watch(key, targets)
        if isinstance(failure, TransientError):
            raise failure
        if any(problem.reason is Reason.NAME_CONFLICT for problem in problems):
            return RequeueAfter(_NAME_CONFLICT_SECONDS)
        return self._when_standings_end(targets, inputs.observed)

    def _when_standings_end(self, targets: Sequence[ProbeTarget], observed: ObservedState) -> Outcome:
        """A young leader keeps the last known standing of pods that it has not judged: not for ever."""
        unjudged = [target for target in targets if target.pod_uid not in observed.probes]
        if unjudged:
            kept = max(target.period_seconds + target.timeout_seconds for target in unjudged)
            remaining = kept - (self.clock() - self.leading_since).total_seconds()
            if remaining > 0:
                return RequeueAfter(remaining + 0.1)
        return Done()

    async def _get_model(self, key: Key) -> Object | None:
        try:
            return await self.client.get(VLLM_MODELS, key.namespace, key.name)
        except ApiError as error:
            if error.not_found:
                return None
            raise _transient(error) from error

    def _forget(self, key: Key) -> None:
        self.probes.watch(key, ())
        self.applier.forget(key.namespace, key.name)
        self.events.forget(key)
        metrics.forget_model(key.namespace, key.name)

    def _observe(self, key: Key, identity: ModelIdentity) -> ObservedState:
        return self.store.observe(key, identity.uid, self.probes.results(key))

    def _decide(self, model: Object, observed: ObservedState) -> _Decision:
        """A good spec becomes the revision; a bad one leaves the last good revision in force."""
        stored = newest(observed.controller_revisions)
        current, number = stored or (None, 0)
        try:
            parsed = parse_model(model)
        except SpecInvalid as error:
            return _Decision(current, number, None, tuple(error.problems))
        try:
            revision = accept(parsed, self.settings, current=current)
        except SpecRejected as error:
            return _Decision(current, number, parsed.spec, tuple(error.problems))
        if current is None or revision.hash != current.hash:
            number += 1
        said = tuple(policy.warnings(parsed, self.settings, image=revision.image))
        return _Decision(revision, number, parsed.spec, (), said)

    async def _apply_children(
        self, model: Object, identity: ModelIdentity, revision: Revision, number: int, replicas: int
    ) -> None:
        """The revision first: it is the memory from which all the rest can be repaired."""
        desired = (
            revision.to_object(identity, number),
            *state.build(identity, revision, replicas=replicas).objects,
        )
        live, conflicts = await self._look(desired, model)
        if conflicts and not any(live.values()):
            raise TerminalError("names taken before anything was made", *conflicts)
        for wanted in desired:
            if wanted["kind"] in live:
                await self._bring(wanted, live[wanted["kind"]], model)
        if conflicts:
            raise TerminalError("a child's name is taken", *conflicts)

    async def _look(
        self, desired: Sequence[Object], model: Object
    ) -> tuple[dict[str, Object | None], tuple[Problem, ...]]:
        """What has the children's names now, by kind; a kind whose name is taken is left out."""
        live: dict[str, Object | None] = {}
        conflicts: list[Problem] = []
        for wanted in desired:
            metadata = wanted["metadata"]
            known = self.store.get(wanted["kind"], metadata["namespace"], metadata["name"])
            try:
                if known is None:
                    known = await self.applier.look(wanted, model)
                else:
                    self.applier.check(known, model)
            except NameTaken as error:
                conflicts.append(_name_conflict(error))
            except BeingReplaced as error:
                raise TransientError(str(error)) from error
            except ApiError as error:
                raise _transient(error) from error
            else:
                live[wanted["kind"]] = known
        return live, tuple(conflicts)

    async def _bring(self, wanted: Object, live: Object | None, model: Object) -> None:
        try:
            self.store.put(await self.applier.bring(wanted, live, model))
        except NameTaken as error:
            raise TerminalError(str(error), _name_conflict(error)) from error
        except BeingReplaced as error:
            raise TransientError(str(error)) from error
        except ApiError as error:
            if error.status in (404, 409) and live is not None:
                self.store.discard(live)
            raise _refused(wanted, error) from error

    async def _prune(self, key: Key, identity: ModelIdentity, revision: Revision) -> None:
        observed = self._observe(key, identity)
        history = self.settings.revision_history_limit
        for surplus in state.to_prune(identity, revision, observed, history_limit=history):
            try:
                await self.applier.prune(surplus)
            except ApiError as error:
                raise _transient(error) from error
            self.store.discard(surplus)

    async def _report(self, model: Object, inputs: StatusInputs) -> bool:
        """Steps 6 and 7; False when the model is gone."""
        now = self.clock()
        identity = inputs.identity
        status = compute(inputs, now)
        metrics.set_conditions(identity.namespace, identity.name, status["conditions"])
        desired = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": identity.name, "namespace": identity.namespace, "uid": identity.uid},
            "status": status,
        }
        if difference(desired, model, STATUS_FIELD_MANAGER) is not None:
            # Events first: a crash in between tells them again (and is answered 409) rather than never.
            await self.events.post(inputs, now)
            try:
                answer = await self.client.apply(
                    desired, field_manager=STATUS_FIELD_MANAGER, subresource="status"
                )
            except ApiError as error:
                if error.not_found:
                    return False
                raise _transient(error) from error
            self.store.put(answer)
            _log_ready(identity, status)
        return True


def _replicas(identity: ModelIdentity, observed: ObservedState) -> int:
    """The spec's; where it does not say a usable number, what is there stays."""
    if identity.replicas is not None:
        return identity.replicas
    if observed.deployment is not None:
        return int(observed.deployment["spec"]["replicas"])
    return 1


def _log_ready(identity: ModelIdentity, status: Mapping[str, Any]) -> None:
    """What a user sees change, once."""
    before, now = _condition(identity.status, "Ready"), _condition(status, "Ready")
    if (before.get("status"), before.get("reason")) != (now.get("status"), now.get("reason")):
        model = f"{identity.namespace}/{identity.name}"
        _log.info("status", model=model, ready=now.get("status"), reason=now.get("reason"))


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((c for c in status.get("conditions") or () if c["type"] == kind), {})
    return found


def _name_conflict(error: NameTaken) -> Problem:
    message = f"{describe(error.live)} exists and does not belong to this VLLMModel; it is left as it is"
    return Problem(Reason.NAME_CONFLICT, message, stalled=False)


def _transient(error: ApiError) -> TransientError:
    seconds = error.throttled_seconds
    return TransientError(str(error), throttled_seconds=seconds, unanswering=error.status == 0)


def _refused(wanted: Object, error: ApiError) -> ReconcileError:
    """Why a child could not be written: the spec's fault, the cluster's policy, or bad luck."""
    what = f"{describe(wanted)} was refused by the API server: {error.message}"
    if error.namespace_terminating:
        return TerminalError(what)
    if error.invalid:
        return TerminalError(what, Problem(Reason.INVALID_SPEC, what, stalled=True))
    if error.status == 403:
        return TransientError(what, Problem(Reason.ADMISSION_REJECTED, what, stalled=False))
    return _transient(error)
