"""What may go wrong in a reconcile, sorted by who can cure it. Anything else that is raised is a bug."""

from vllm_operator.api.conditions import Problem


class ReconcileError(Exception):
    """Ends a reconcile early; `problems` belong into the status."""

    def __init__(self, message: str, *problems: Problem) -> None:
        super().__init__(message)
        self.problems = problems


class TerminalError(ReconcileError):
    """This generation of the spec cannot work: say so and wait for the next one."""


class TransientError(ReconcileError):
    """Time or somebody else may cure it: try again, later each time."""

    def __init__(self, message: str, *problems: Problem, retry_after: float = 0) -> None:
        super().__init__(message, *problems)
        self.retry_after = retry_after
