"""Where the pods may run: the parts of a Kubernetes pod spec about scheduling, with their bounds."""

import re
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from vllm_operator.api.base import ATOMIC_LIST, ATOMIC_MAP, Check, Model, ObjectName, map_list

# Patterns, not rules in words: a label may stand in so many places that rules would exceed the API server's
# budget.
_KEY: Final = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=_KEY)]
LabelValue = Annotated[str, Field(max_length=63, pattern=_VALUE)]
_is_key = re.compile(_KEY)
Labels = Annotated[
    dict[str, LabelValue],
    Field(max_length=64),
    Check(
        "",
        "must have label keys: a DNS prefix and '/' or none, then up to 63 letters, digits, '-', '_' or '.'",
        lambda labels: all(_is_key.fullmatch(key) for key in labels),
    ),
]
MAX_TERMS: Final = 16


class Toleration(Model):
    """A taint that the pods tolerate."""

    key: Annotated[str | None, Field(max_length=317, description="Taint key; absent means all keys.")] = None
    operator: Annotated[
        Literal["Exists", "Equal"] | None, Field(description="How `value` is compared; absent means Equal.")
    ] = None
    value: Annotated[str | None, Field(max_length=63, description="Taint value that is tolerated.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Taint effect that is tolerated; absent means all effects."),
    ] = None
    toleration_seconds: Annotated[
        int | None, Field(ge=0, le=86400, description="How long a NoExecute taint is tolerated.")
    ] = None


class LabelRequirement(Model):
    """A condition on one label."""

    key: Annotated[LabelKey, Field(description="Label key that the condition is about.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"], Field(description="The comparison.")
    ]
    values: Annotated[
        tuple[LabelValue, ...],
        Field(
            max_length=64,
            description="Values to compare with; none for Exists.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = ()


class NodeRequirement(Model):
    """A condition on one label or field of a node."""

    key: Annotated[LabelKey, Field(description="Label key, or `metadata.name` in `matchFields`.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"], Field(description="The comparison.")
    ]
    values: Annotated[
        tuple[Annotated[str, Field(max_length=253)], ...],
        Field(
            max_length=64,
            description="Values to compare with; none for Exists.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = ()


class LabelSelector(Model):
    """A condition on an object's labels; all its parts must hold."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP

    match_labels: Annotated[Labels | None, Field(description="Labels that must have these values.")] = None
    match_expressions: Annotated[
        tuple[LabelRequirement, ...],
        Field(
            max_length=MAX_TERMS, description="Conditions on single labels.", json_schema_extra=ATOMIC_LIST
        ),
    ] = ()


class NodeSelectorTerm(Model):
    """A condition on a node; all its parts must hold."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP

    match_expressions: Annotated[
        tuple[NodeRequirement, ...],
        Field(
            max_length=MAX_TERMS,
            description="Conditions on the node's labels.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = ()
    match_fields: Annotated[
        tuple[NodeRequirement, ...],
        Field(
            max_length=MAX_TERMS,
            description="Conditions on the node's fields.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = ()


class NodeSelector(Model):
    """Conditions on a node, one of which must hold."""

    schema_extra: ClassVar[dict[str, Any]] = ATOMIC_MAP

    node_selector_terms: Annotated[
        tuple[NodeSelectorTerm, ...],
        Field(
            min_length=1, max_length=MAX_TERMS, description="The alternatives.", json_schema_extra=ATOMIC_LIST
        ),
    ]


Weight = Annotated[int, Field(ge=1, le=100)]


class PreferredNode(Model):
    """A preference for some nodes."""

    weight: Annotated[Weight, Field(description="How much it counts, 1 to 100.")]
    preference: Annotated[NodeSelectorTerm, Field(description="The nodes that are preferred.")]


class NodeAffinity(Model):
    """Conditions and preferences about nodes."""

    required_during_scheduling_ignored_during_execution: Annotated[
        NodeSelector | None, Field(description="Nodes the pods must run on.")
    ] = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNode, ...],
        Field(
            max_length=MAX_TERMS, description="Nodes the pods should run on.", json_schema_extra=ATOMIC_LIST
        ),
    ] = ()


class PodAffinityTerm(Model):
    """Pods to be near to, or away from."""

    label_selector: Annotated[LabelSelector | None, Field(description="Which pods, by their labels.")] = None
    topology_key: Annotated[LabelKey, Field(description="Node label whose value says what is near.")]
    namespaces: Annotated[
        tuple[ObjectName, ...],
        Field(max_length=MAX_TERMS, description="Namespaces of those pods.", json_schema_extra=ATOMIC_LIST),
    ] = ()
    namespace_selector: Annotated[
        LabelSelector | None, Field(description="Namespaces of those pods, by their labels.")
    ] = None


class WeightedPodAffinityTerm(Model):
    """A preference to be near to, or away from, other pods."""

    weight: Annotated[Weight, Field(description="How much it counts, 1 to 100.")]
    pod_affinity_term: Annotated[PodAffinityTerm, Field(description="The pods it is about.")]


class PodAffinity(Model):
    """Conditions and preferences about other pods."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodAffinityTerm, ...],
        Field(max_length=MAX_TERMS, description="What must hold.", json_schema_extra=ATOMIC_LIST),
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[WeightedPodAffinityTerm, ...],
        Field(max_length=MAX_TERMS, description="What should hold.", json_schema_extra=ATOMIC_LIST),
    ] = ()


class Affinity(Model):
    """Affinity of the pods, as in a Kubernetes pod spec."""

    node_affinity: Annotated[NodeAffinity | None, Field(description="About nodes.")] = None
    pod_affinity: Annotated[PodAffinity | None, Field(description="Pods to be near to.")] = None
    pod_anti_affinity: Annotated[PodAffinity | None, Field(description="Pods to be away from.")] = None


class TopologySpreadConstraint(Model):
    """How evenly the pods are spread over zones or nodes."""

    max_skew: Annotated[
        int, Field(ge=1, le=1000, description="The largest allowed difference between two domains.")
    ]
    topology_key: Annotated[LabelKey, Field(description="Node label whose values are the domains.")]
    when_unsatisfiable: Annotated[
        Literal["DoNotSchedule", "ScheduleAnyway"], Field(description="What happens when it cannot be met.")
    ]
    min_domains: Annotated[
        int | None,
        Field(ge=1, le=1000, description="The fewest domains to count on; only with DoNotSchedule."),
    ] = None
    label_selector: Annotated[
        LabelSelector | None, Field(description="Which pods are counted; absent means this model's pods.")
    ] = None


class Scheduling(Model):
    """Where the pods may run."""

    node_selector: Annotated[
        Labels | None, Field(description="Labels that a node must have.", json_schema_extra=ATOMIC_MAP)
    ] = None
    tolerations: Annotated[
        tuple[Toleration, ...],
        Field(max_length=32, description="Taints that the pods tolerate.", json_schema_extra=ATOMIC_LIST),
    ] = ()
    affinity: Annotated[
        Affinity | None, Field(description="Conditions and preferences about nodes and pods.")
    ] = None
    topology_spread_constraints: Annotated[
        tuple[TopologySpreadConstraint, ...],
        Field(
            max_length=8,
            description="How evenly the pods are spread.",
            json_schema_extra=map_list("topologyKey", "whenUnsatisfiable"),
        ),
    ] = ()
    priority_class_name: Annotated[
        ObjectName | None, Field(description="PriorityClass of the pods; the administrator allows which.")
    ] = None
    runtime_class_name: Annotated[
        ObjectName | None, Field(description="RuntimeClass of the pods; the administrator allows which.")
    ] = None
