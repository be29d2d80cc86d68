"""Brings one VLLMModel's children and status to what its spec asks for, from wherever they are.

1 get the model                          5 prune what is ours and no longer wanted
2 parse the spec, accept it as revision  6 compute the status
3 build the desired children             7 if it differs: post its Events, apply it
4 apply each of them

What goes wrong in 3 to 5 is part of the status: 6 and 7 are done all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from vllm_operator.api.conditions import Reason
from vllm_operator.api.meta import API_VERSION, KIND, STATUS_FIELD_MANAGER
from vllm_operator.api.v1alpha1 import ModelIdentity
from vllm_operator.desired import anchor, state
from vllm_operator.desired.decision import Decision, as_it_is, decide
from vllm_operator.desired.revision import ProbeSettings, Revision
from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.drift import difference
from vllm_operator.kube.errors import ApiError
from vllm_operator.kube.resources import EVENTS, VLLM_MODELS
from vllm_operator.observed import fields
from vllm_operator.observed.state import Object, ObservedState, ProbeResult
from vllm_operator.observed.store import Key, ObservedStore
from vllm_operator.observed.target import ProbeTarget
from vllm_operator.reconcile.children import Children
from vllm_operator.reconcile.errors import Bug, ReconcileError, TransientError
from vllm_operator.reconcile.events import EventPoster
from vllm_operator.reconcile.failures import Failures
from vllm_operator.reconcile.refusals import transient
from vllm_operator.reconcile.targets import probe_targets
from vllm_operator.reconcile.worker import Done, Gone, Outcome, RequeueAfter
from vllm_operator.settings import Settings
from vllm_operator.status import pods, room, warning
from vllm_operator.status.compute import StatusInputs, compute
from vllm_operator.status.evidence import Probing
from vllm_operator.status.facts import read
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

    def effective_period_seconds(self, key: Key) -> float:
        """How far apart the probes of one of its pods are now; 0 when none is probed."""


@dataclass(slots=True)
class Reconciler:
    """Holds what outlives one reconcile; the models themselves are remembered only by the cluster."""

    client: KubeClient
    store: ObservedStore
    children: Children
    probes: Probes
    settings: Settings
    leading_since: datetime
    events: EventPoster
    inherited_until: datetime | None = None
    """Until when the operator before this one may have written the statuses that this one found."""
    failures: Failures = field(default_factory=Failures)
    _probing_since: dict[Key, dict[str, datetime]] = field(default_factory=dict)
    _unlisted: dict[Key, anchor.Listing] = field(default_factory=dict)
    """Revisions as written, where the status that lists them was not answered."""
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    async def reconcile(self, key: Key) -> Outcome:
        """One pass over the steps above."""
        # 1 get the model
        model = await self._get_model(key)
        if model is None:
            self._forget(key)
            return Gone()
        identity = ModelIdentity.of(model)

        # 2 parse the spec, accept it as revision
        observed = self._observe(key, identity)
        decision, bug = self._decide(key, model, observed)
        inputs = self._inputs(key, identity, decision, observed)

        # 3 build the desired children, 4 apply each of them, 5 prune what is ours and no longer wanted
        failure: ReconcileError | None = bug
        if decision.revision is not None and not (identity.paused or identity.deletion_timestamp):
            failure = await self._act(key, model, inputs, decision) or failure

        # 6 compute the status, 7 apply it if it differs: also when a step above failed
        observed = self._observe(key, identity)
        inputs = replace(
            inputs,
            observed=observed,
            revisions=anchor.listing(
                observed.controller_revisions, decision.trusted, decision.controller_revision
            ),
            problems=decision.problems + (failure.problems if failure else ()),
            failure=self._lasting(key, failure, decision),
        )
        inputs = replace(inputs, warning=await self._newest_warning(inputs))
        self._unlisted[key] = inputs.revisions
        now = await self._report(model, inputs)
        del self._unlisted[key]
        if now is None:
            self._forget(key)
            return Gone()
        self._probe(key, inputs.observed, decision)
        if replace(ModelIdentity.of(now), status=identity.status) != identity:
            return RequeueAfter(0)  # edited meanwhile, and its event will be no news to the store
        if isinstance(failure, TransientError | Bug):
            raise failure
        if any(problem.reason is Reason.NAME_CONFLICT for problem in inputs.problems):
            return RequeueAfter(_NAME_CONFLICT_SECONDS)
        return self._when_facts_change(inputs)

    def _inputs(
        self, key: Key, identity: ModelIdentity, decision: Decision, observed: ObservedState
    ) -> StatusInputs:
        return StatusInputs(
            identity=identity,
            problems=decision.problems,
            revision=decision.revision,
            stored=decision.trusted.revision,
            observed=observed,
            spec=decision.spec,
            replicas=_replicas(identity, observed),
            warnings=decision.warnings,
            probing=Probing(
                since=self._probing_since.get(key, {}),
                inherited_until=self.inherited_until,
                period_seconds=self.probes.effective_period_seconds(key),
            ),
        )

    async def _act(
        self, key: Key, model: Object, inputs: StatusInputs, decision: Decision
    ) -> ReconcileError | None:
        """Steps 3 to 5; what went wrong is returned, whatever it is."""
        assert decision.revision is not None
        try:
            await self.children.apply(self._desired(inputs, decision), model)
            await self.children.prune(self._surplus(key, inputs.identity, decision.revision))
        except ReconcileError as error:
            return error
        except Exception as error:
            return Bug(error)
        return None

    def _lasting(self, key: Key, failure: ReconcileError | None, decision: Decision) -> str:
        """Why the children are not what they should be, once that has been so for longer than a period."""
        now = self.clock()
        since = self.failures.note(key, failure, now)
        if failure is None or since is None or failure.problems:
            return ""
        probe = decision.revision.probe if decision.revision else ProbeSettings()
        period = timedelta(seconds=probe.period_seconds)
        lasts = now - since > period and now - self.leading_since > 2 * period
        return str(failure) if lasts else ""

    async def _newest_warning(self, inputs: StatusInputs) -> str:
        """What a pod's Events say, asked for only where the Deployment's deadline is over."""
        if not (uid := warning.pod_to_ask_about(read(inputs, self.clock()))):
            return ""
        selector = f"regarding.uid={uid},type=Warning"
        try:
            found = await self.client.page(EVENTS, inputs.identity.namespace, field_selector=selector)
        except ApiError as error:
            _log.warning("the Events of a pod were not read", problem=str(error))
            return ""
        return warning.newest(found.items)

    def _probe(self, key: Key, observed: ObservedState, decision: Decision | None = None) -> None:
        """Probe the model's pods from now on, and remember since when each of them was ready for that."""
        revision, stored = (decision.revision, decision.revisions) if decision else (None, {})
        self.probes.watch(key, probe_targets(observed, revision, stored))
        before, now = self._probing_since.pop(key, {}), self.clock()
        ready = [fields.text(pod, "metadata", "uid") for pod in observed.pods if pods.is_ready(pod)]
        if ready:
            self._probing_since[key] = {uid: before.get(uid, now) for uid in ready}

    def _when_facts_change(self, inputs: StatusInputs) -> Outcome:
        """Evidence comes of age, and pods fail to end in time, without any event to tell."""
        now = self.clock()
        change = read(inputs, now).next_change
        return RequeueAfter((change - now).total_seconds() + 0.1) if change else Done()

    async def _get_model(self, key: Key) -> Object | None:
        """As the watch told it. Each write carries its uid, so one that is gone by now is not written to.

        Where it had a Deployment that is not there the API server is asked: a model whose deletion its watch
        has not told of loses its children first, and must not get them again and again.
        """
        known = self.store.get(KIND, key.namespace, key.name)
        if known is not None:
            was_applied = bool(fields.text(known, "status", "updateRevision"))
            if not was_applied or self.store.has("Deployment", key.namespace, key.name):
                return known
        try:
            found = await self.client.get(VLLM_MODELS, key.namespace, key.name)
        except ApiError as error:
            if error.not_found:
                return None
            raise transient(error) from error
        self.store.put(found)  # so that its end is news
        return found

    def _forget(self, key: Key) -> None:
        self.store.forget_model(key)
        self._probe(key, ObservedState())
        self._unlisted.pop(key, None)
        self.failures.forget(key)
        self.children.applier.forget(key.namespace, key.name)
        self.events.forget(key)
        metrics.forget_model(key.namespace, key.name)

    def _observe(self, key: Key, identity: ModelIdentity) -> ObservedState:
        return self.store.observe(key, identity.uid, self.probes.results(key))

    def _decide(self, key: Key, model: Object, observed: ObservedState) -> tuple[Decision, Bug | None]:
        """What the spec comes to; a model that is not understood stays as it is."""
        stored, written = observed.controller_revisions, self._unlisted.get(key, ())
        try:
            return decide(model, stored, self.settings, written), None
        except Exception as error:
            return as_it_is(model, stored, self.settings, written), Bug(error)

    def _desired(self, inputs: StatusInputs, decision: Decision) -> Sequence[Object]:
        """The children in the order to apply. The revision first: from it all the rest can be repaired."""
        revision = decision.revision
        assert revision is not None
        assert decision.controller_revision is not None
        in_haste = revision.strategy["type"] != "Recreate" and room.is_needed(read(inputs, self.clock()))
        strategy = room.STRATEGY if in_haste else None
        replicas = _replicas(inputs.identity, inputs.observed)
        built = state.build(inputs.identity, revision, replicas=replicas, strategy=strategy)
        return (decision.controller_revision, *built.objects)

    def _surplus(self, key: Key, identity: ModelIdentity, revision: Revision) -> Sequence[Object]:
        history = self.settings.revision_history_limit
        return state.to_prune(identity, revision, self._observe(key, identity), history_limit=history)

    async def _report(self, model: Object, inputs: StatusInputs) -> Object | None:
        """Steps 6 and 7; returns the model as it is by then, None when it is gone."""
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
                    return None
                if error.status == 409:  # of another uid: the next reconcile asks the API server
                    self.store.forget(model)
                raise transient(error) from error
            self.store.put(answer)
            _log_ready(identity, status)
            return answer
        return model


def _replicas(identity: ModelIdentity, observed: ObservedState) -> int:
    """The spec's; where it does not say a usable number, what is there stays."""
    if identity.replicas is not None:
        return identity.replicas
    return fields.number(observed.deployment, "spec", "replicas", default=1)


def _log_ready(identity: ModelIdentity, status: Mapping[str, Any]) -> None:
    """What a user sees change, once."""
    before, now = (fields.condition({"status": found}, "Ready") for found in (identity.status, status))
    if (before.get("status"), before.get("reason")) != (now.get("status"), now.get("reason")):
        model = f"{identity.namespace}/{identity.name}"
        _log.info("status", model=model, ready=now.get("status"), reason=now.get("reason"))
