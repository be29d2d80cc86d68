"""What a scenario is: a function, what it bounds, and what came of a run of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.scene import Scene

#: How long a status may say what is not true, unless a scenario says otherwise: three failed probes.
BOUND_SECONDS = 30.0


@dataclass(frozen=True)
class Scenario:
    """A fault, injected and looked at by `run`; its docstring's first line describes it."""

    run: "Callable[[Scene], None]"
    bound: float
    quick: bool
    alone: bool

    @property
    def name(self) -> str:
        """The function's, in words."""
        return self.run.__name__.replace("_", " ")

    @property
    def group(self) -> str:
        """The file that it is in."""
        return self.run.__module__.rpartition(".")[2]

    @property
    def fault(self) -> str:
        """What fails, in one line."""
        return (self.run.__doc__ or "").splitlines()[0].rstrip(".")


@dataclass(frozen=True)
class Outcome:
    """One run of a scenario. `problem` is empty where everything held."""

    scenario: Scenario
    truth: str
    reported: str
    delay: float | None
    problem: str

    @property
    def held(self) -> bool:
        """Whether what was said was true, in time."""
        return not self.problem

    def line(self) -> str:
        """For the terminal."""
        delay = "" if self.delay is None else f"{self.delay:.0f} s of {self.scenario.bound:.0f}"
        verdict = "held" if self.held else f"NOT HELD: {self.problem}"
        parts = (self.scenario.name, self.truth, self.reported, delay, verdict)
        return " | ".join(part or "-" for part in parts)


REGISTERED: list[Scenario] = []


def scenario(
    *, bound: float = BOUND_SECONDS, quick: bool = False, alone: bool = False
) -> "Callable[[Callable[[Scene], None]], Callable[[Scene], None]]":
    """Register a function as a scenario.

    `quick`: a part of `make test`. `alone`: it hurts the whole control plane, so nothing runs beside it.
    """

    def register(run: "Callable[[Scene], None]") -> "Callable[[Scene], None]":
        assert run.__doc__, f"{run.__name__} does not say what fails"
        REGISTERED.append(Scenario(run, bound, quick, alone))
        return run

    return register
