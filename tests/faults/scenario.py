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
class Stage:
    """What was so, what was said of it, and how many seconds later."""

    truth: str
    reported: str = ""
    delay: float | None = None


@dataclass(frozen=True)
class Outcome:
    """One run of a scenario. `problem` is empty where everything held."""

    scenario: Scenario
    stages: tuple[Stage, ...]
    problem: str

    @property
    def held(self) -> bool:
        """Whether what was said was true, in time."""
        return not self.problem

    @property
    def columns(self) -> tuple[str, str, str]:
        """True state, reported state and delay, of all stages."""
        truth = "; ".join(stage.truth for stage in self.stages)
        reported = "; ".join(stage.reported for stage in self.stages)
        delay = "; ".join("" if stage.delay is None else f"{stage.delay:.0f} s" for stage in self.stages)
        return truth, reported, delay

    def line(self) -> str:
        """For the terminal: one line, whatever went wrong."""
        verdict = "held" if self.held else f"NOT HELD: {' '.join(self.problem.split())[:600]}"
        bound = f"bound {self.scenario.bound:.0f} s"
        return " | ".join(part or "-" for part in (self.scenario.name, *self.columns, bound, verdict))


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
