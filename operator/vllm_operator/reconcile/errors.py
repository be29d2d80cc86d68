"""What may go wrong in a reconcile, sorted by who can cure it."""

from vllm_operator.api.conditions import Problem


class ReconcileError(Exception):
    """Ends a reconcile early; `problems` belong into the status."""

    def __init__(self, message: str, *problems: Problem) -> None:
        super().__init__(message)
        self.problems = problems


class TerminalError(ReconcileError):
    """This generation of the spec cannot work: say so and wait for the next one."""


class TransientError(ReconcileError):
    """Time or somebody else may cure it: try again, later each time.

    Throttling is no failure of the model: it comes again after `throttled_seconds`, however often, where
    that is given.
    """

    def __init__(self, message: str, *problems: Problem, throttled_seconds: float | None = None) -> None:
        super().__init__(message, *problems)
        self.throttled_seconds = throttled_seconds


class Bug(ReconcileError):
    """Nobody expected this: its cause is in the log, and nothing of it but its kind in the status."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"an error in the operator itself ({type(cause).__name__})")
        self.__cause__ = cause
