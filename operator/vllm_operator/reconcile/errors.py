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

    What the API server does is no failure of the model. Where `throttled_seconds` is given it comes again
    after these, however often; where the server was `unanswering`, soon after it is back.
    """

    def __init__(
        self,
        message: str,
        *problems: Problem,
        throttled_seconds: float | None = None,
        unanswering: bool = False,
    ) -> None:
        super().__init__(message, *problems)
        self.throttled_seconds = throttled_seconds
        self.unanswering = unanswering


class Bug(ReconcileError):
    """Nobody expected this: its cause is in the log, and nothing of it but its kind in the status."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"an error in the operator itself ({type(cause).__name__})")
        self.__cause__ = cause
