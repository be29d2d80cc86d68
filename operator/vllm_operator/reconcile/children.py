"""Writes a model's children: applies what is desired, prunes what is surplus, touches nothing foreign."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vllm_operator.api.conditions import Problem
from vllm_operator.kube.apply import Applier, BeingReplaced, NameTaken
from vllm_operator.kube.errors import ApiError
from vllm_operator.observed.state import Object
from vllm_operator.observed.store import ObservedStore
from vllm_operator.reconcile.errors import TerminalError, TransientError
from vllm_operator.reconcile.refusals import name_conflict, refused, transient

#: Kinds whose names a stranger may well have taken: looked at before anything is made.
_PLAINLY_NAMED: Final = frozenset({"Service", "Deployment"})


@dataclass(slots=True)
class Children:
    """What is seen of them is in the store; what the API server answers goes there."""

    applier: Applier
    store: ObservedStore

    async def apply(self, desired: Sequence[Object], model: Object) -> None:
        """Bring each of `desired` about, in their order. Raises ReconcileError."""
        live, conflicts = await self._look(desired, model)
        if conflicts and not any(live.values()):
            raise TerminalError("names taken before anything was made", *conflicts)
        for wanted in desired:
            if wanted["kind"] in live:
                await self._bring(wanted, live[wanted["kind"]], model)
        if conflicts:
            raise TerminalError("a child's name is taken", *conflicts)

    async def prune(self, surplus: Iterable[Object]) -> None:
        """Delete these. Raises ReconcileError."""
        for obj in surplus:
            try:
                await self.applier.prune(obj)
            except ApiError as error:
                raise transient(error) from error
            self.store.discard(obj)

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
                # Watches see by label only. The names that hold a hash are nobody else's: POST tells.
                if known is None and wanted["kind"] in _PLAINLY_NAMED:
                    known = await self.applier.look(wanted, model)
                elif known is not None:
                    self.applier.check(known, model)
            except NameTaken as error:
                conflicts.append(name_conflict(error))
            except BeingReplaced as error:
                raise TransientError(str(error)) from error
            except ApiError as error:
                raise transient(error) from error
            else:
                live[wanted["kind"]] = known
        return live, tuple(conflicts)

    async def _bring(self, wanted: Object, live: Object | None, model: Object) -> None:
        try:
            # Not what was read before: it may have been deleted while another write was slow.
            if (answer := await self.applier.bring(wanted, live, model)) is not None:
                self.store.put(answer)
        except NameTaken as error:
            raise TerminalError(str(error), name_conflict(error)) from error
        except BeingReplaced as error:
            raise TransientError(str(error)) from error
        except ApiError as error:
            if error.status in (404, 409) and live is not None:
                await self._look_again(wanted, live, model)
            raise refused(wanted, live, error) from error

    async def _look_again(self, wanted: Object, live: Object, model: Object) -> None:
        """What was seen is not what is there. The store is told what is: without a Deployment, which somebody
        has only edited meanwhile, it would know of no pod, and the status would follow."""
        now: Object | None = None
        try:
            now = await self.applier.look(wanted, model)
        except ApiError:
            return  # its watch will tell
        except (NameTaken, BeingReplaced):
            pass  # what was ours is gone
        if now is None:
            self.store.forget(live)
        else:
            self.store.put(now)
