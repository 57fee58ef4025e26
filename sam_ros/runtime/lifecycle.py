"""The state of a lifecycle node, as its state machine says it."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode

__all__ = ["ACTIVE", "CONFIGURED", "TRANSITIONS", "state_of"]

ACTIVE = "active"
CONFIGURED = ("inactive", ACTIVE)  # states in which a node holds what `on_configure` made
TRANSITIONS = ("configuring", "cleaningup", "shuttingdown", "activating", "deactivating", "errorprocessing")


def state_of(node: LifecycleNode) -> str:
    """Return the label of a node's lifecycle state, e.g. "inactive"; during a transition its name, e.g. "activating".

    rclpy has no public name for it; the node's own `~/get_state` service answers from the same state machine.
    """
    label: str = node._state_machine.current_state[1]
    return label
