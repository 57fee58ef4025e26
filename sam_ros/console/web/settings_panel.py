"""The tracker's lifecycle, and its parameters with ranges and descriptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nicegui import ui
from rcl_interfaces.msg import ParameterDescriptor, ParameterType, ParameterValue
from rclpy.parameter import Parameter, parameter_value_to_python

from sam_ros.console.ros.link import TrackerLink
from sam_ros.runtime.errors import RefusedError

if TYPE_CHECKING:
    from sam_ros.console.web.page import ConsolePage

__all__ = ["SettingsPanel"]

AFTER = {  # what can be done in a state
    "unconfigured": ("configure",),
    "inactive": ("activate", "cleanup"),
    "active": ("deactivate",),
}


class SettingsPanel:
    """Build and refresh lifecycle buttons and parameters.

    Args:
        page: The page that it belongs to.
    """

    def __init__(self, page: ConsolePage) -> None:
        self._page = page
        self._link: TrackerLink | None = None  # whose parameters are shown
        self._state_shown = ""
        with ui.column().classes("w-full gap-2 p-3"):
            ui.label("Lifecycle").classes("sam-head")
            self._state = ui.label().classes("text-sm")
            self._buttons = ui.row().classes("w-full gap-2")
            with ui.row().classes("w-full items-center"):
                ui.label("Parameters").classes("sam-head grow")
                ui.button(icon="refresh", on_click=self._read).props(
                    'flat round dense aria-label="Read parameters again"'
                )
            self._parameters = ui.column().classes("w-full gap-2")
            with ui.expansion("Fixed while it runs").classes("w-full sam-figures"):
                self._fixed = ui.column().classes("w-full gap-1")

    async def refresh(self) -> None:
        """Show what the tracker can do now; read its parameters when it is another or has changed its state."""
        view = self._page.view
        link = view.link
        health = link.health if link is not None else None
        state = health.state if health is not None else ""
        paused = health.paused if health is not None else False
        self._state.set_text(f"{state}{', paused' if paused else ''}" if state else "not running")
        shown = f"{state} {paused}"
        if link is self._link and shown == self._state_shown:
            return
        self._link, self._state_shown = link, shown
        self._parameters.clear()
        self._fixed.clear()
        self._buttons.clear()
        with self._buttons:
            if not view.read_only:
                self._build_buttons(state, paused)
        if state:
            await self._read()

    def _build_buttons(self, state: str, paused: bool) -> None:
        for transition in AFTER.get(state, ()):
            ui.button(
                transition.capitalize(),
                on_click=lambda _, one=transition: self._page.attempt(
                    lambda commands: commands.change_state(one), f"{one}d" if one.endswith("e") else "done"
                ),
            ).props("outline dense no-caps padding='4px 12px'")
        if state == "active":
            ui.button(
                "Resume" if paused else "Pause",
                on_click=lambda: self._page.attempt(lambda commands: commands.pause(not paused)),
            ).props("outline dense no-caps padding='4px 12px'")

    async def _read(self) -> None:
        link = self._page.view.link
        if link is None:
            return
        try:
            parameters = await self._page.view.commands.parameters()
        except RefusedError as error:
            if link is self._page.view.link:
                self._state_shown = ""  # the next refresh tries again
                self._parameters.clear()
                with self._parameters:
                    ui.label(str(error)).classes("sam-sub")
            return
        if link is self._page.view.link:  # else another tracker is looked at meanwhile
            self._link = link
            self._show(parameters)

    def _show(self, parameters: Iterable[tuple[str, ParameterDescriptor, ParameterValue]]) -> None:
        self._parameters.clear()
        self._fixed.clear()
        for name, descriptor, value in parameters:
            if descriptor.read_only or self._page.view.read_only:
                with self._fixed, ui.row().classes("w-full no-wrap gap-2 sam-figure"):
                    ui.label(name).classes("grow").tooltip(descriptor.description)
                    ui.label(str(parameter_value_to_python(value))[:200]).classes("text-right sam-wrap")
            elif name != "use_sim_time":
                with self._parameters:
                    self._control(name, descriptor, value)

    async def _set(self, name: str, value: bool | int | float | str | None) -> None:
        """Set a parameter; None: what was entered is unfinished."""
        if value is None or self._link is not self._page.view.link:  # what is shown is of another tracker
            return
        changed = await self._page.attempt(
            lambda commands: commands.set_parameter(Parameter(name, value=value).to_parameter_msg()),
            f"{name} is {value}",
        )
        if changed is None:
            await self._read()  # show what the tracker has

    def _control(self, name: str, descriptor: ParameterDescriptor, value: ParameterValue) -> None:
        async def change(event: Any) -> None:
            await self._set(name, _read_value(descriptor.type or value.type, event.value))

        current = parameter_value_to_python(value)
        if value.type == ParameterType.PARAMETER_BOOL:
            ui.switch(name, value=current, on_change=change).props("dense")
        elif value.type in (ParameterType.PARAMETER_INTEGER, ParameterType.PARAMETER_DOUBLE):
            whole = value.type == ParameterType.PARAMETER_INTEGER
            ranges = descriptor.integer_range if whole else descriptor.floating_point_range
            least, most = (ranges[0].from_value, ranges[0].to_value) if ranges else (None, None)
            hint = f' suffix="{least:g} … {most:g}"' if least is not None and most is not None else ""
            form = ("%d", 1) if whole else (None, None)
            number = ui.number(name, value=current, min=least, max=most, format=form[0], step=form[1])
            number.props(f"outlined dense debounce=700{hint}").classes("w-full").on_value_change(change)
        else:
            ui.input(name, value=str(current)).props("outlined dense debounce=700 maxlength=200").classes(
                "w-full"
            ).on_value_change(change)
        ui.label(descriptor.description).classes("sam-sub sam-wrap")


def _read_value(kind: int, value: Any) -> bool | int | float | str | None:
    """Read what was entered as a parameter's type; None where it is unfinished, or no int64."""
    try:
        if kind == ParameterType.PARAMETER_BOOL:
            return bool(value)
        if kind == ParameterType.PARAMETER_INTEGER:
            whole = int(value)
            return whole if -(2**63) <= whole < 2**63 else None
        if kind == ParameterType.PARAMETER_DOUBLE:
            return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return str(value)[:200]
