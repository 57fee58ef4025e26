"""The table of objects: select, rename, hide, remove; save and load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from nicegui import ui
from sam_msgs.msg import TrackedObject

from sam_ros.console.ros.commands import LONGEST_TEXT
from sam_ros.console.ros.frames import Frame, SeenObject
from sam_ros.console.ros.link import TrackerLink
from sam_ros.console.web.dialogs import open_dialog
from sam_ros.console.web.plots import polyline
from sam_ros.console.web.stream import Encoder
from sam_ros.conversions.colours import colour_of
from sam_ros.conversions.stamps import nanoseconds
from sam_ros.runtime.texts import legible

if TYPE_CHECKING:
    from sam_ros.console.web.page import ConsolePage

__all__ = ["ObjectsPanel"]

T = TypeVar("T")
PLOT = (72, 22)  # px
STATES = {
    TrackedObject.TRACK_TENTATIVE: "tentative",
    TrackedObject.TRACK_TRACKED: "tracked",
    TrackedObject.TRACK_OCCLUDED: "occluded",
    TrackedObject.TRACK_LOST: "lost",
}
SEEN = {TrackedObject.TRACKED: "tracked", TrackedObject.ABSENT: "absent", TrackedObject.NO_MASK: "no mask"}
TONES = {"tracked": "positive", "tentative": "info", "lost": "negative"}

# A Vue template of Quasar's table; {{ }} and bound attributes escape what they show.
ROW = """
<q-tr :props="props" :class="props.row.selected ? 'sam-selected' : ''" @click="$parent.$emit('choose', props.row.id)">
  <q-td class="sam-thumb-cell">
    <div class="sam-thumb" :style="{ borderColor: props.row.colour, opacity: props.row.hidden ? 0.35 : 1 }">
      <img v-if="props.row.thumbnail" :src="props.row.thumbnail" :alt="'Object ' + props.row.id">
    </div>
  </q-td>
  <q-td>
    <button class="sam-name" :aria-pressed="props.row.selected ? 'true' : 'false'"
      :aria-label="'Select object ' + props.row.id">
      <span class="sam-id">{{ props.row.id }}</span> {{ props.row.label || 'object' }}</button>
    <div class="sam-sub"><span :class="'sam-dot text-' + props.row.tone">●</span> {{ props.row.state }}
      <span v-if="props.row.ago">· seen {{ props.row.ago }} ago</span></div>
  </q-td>
  <q-td>
    <svg :width="72" :height="22" role="img" :aria-label="'Score ' + props.row.score"><polyline :points="props.row.plot"
      fill="none" :stroke="props.row.colour" stroke-width="1.5"/></svg>
    <div class="sam-sub">{{ props.row.score }}</div>
  </q-td>
  <q-td auto-width class="sam-actions">
    <q-btn flat round dense size="sm" :icon="props.row.hidden ? 'visibility_off' : 'visibility'"
      :aria-label="(props.row.hidden ? 'Show' : 'Hide') + ' object ' + props.row.id"
      @click.stop="$parent.$emit('hide', props.row.id)"/>
    <q-btn v-if="props.row.editable" flat round dense size="sm" icon="edit"
      :aria-label="'Rename object ' + props.row.id"
      @click.stop="$parent.$emit('rename', props.row.id)"/>
    <q-btn v-if="props.row.editable" flat round dense size="sm" icon="close"
      :aria-label="'Remove object ' + props.row.id"
      @click.stop="$parent.$emit('remove', props.row.id)"/>
  </q-td>
</q-tr>
"""


class ObjectsPanel:
    """Build and refresh the table.

    Args:
        page: The page that it belongs to.
        encoder: Takes the pictures of objects.
    """

    def __init__(self, page: ConsolePage, encoder: Encoder) -> None:
        self._page = page
        self._encoder = encoder
        self._pictures: tuple[TrackerLink | None, Mapping[int, str]] = (None, {})  # of whose objects, by identity
        self._shown: tuple[object, ...] = ()
        columns = [
            {"name": name, "label": label, "field": name, "align": "left"}
            for name, label in (("thumbnail", ""), ("label", "Object"), ("score", "Score"), ("actions", ""))
        ]
        self._table = ui.table(columns=columns, rows=[], row_key="id").props("flat dense hide-header hide-pagination")
        self._table.classes("w-full sam-objects").props('aria-label="Objects"')
        self._table.props(':rows-per-page-options="[0]" hide-no-data')
        self._table.add_slot("body", ROW)
        self._nothing = ui.label().classes("sam-empty w-full").props("role=status")
        self._table.on("choose", lambda event: self._on(event.args, page.select))
        self._table.on("hide", lambda event: self._on(event.args, page.hide))
        self._table.on("rename", lambda event: self._on(event.args, self._ask_name))
        self._table.on("remove", lambda event: self._on(event.args, page.remove))
        if page.view.read_only:
            return
        with ui.row().classes("w-full gap-1 px-2"):
            self._save = ui.button("Save …", icon="save", on_click=self._ask_save).props("flat dense no-caps")
            self._load = ui.button("Load …", icon="folder_open", on_click=self._ask_load).props("flat dense no-caps")
            ui.space()
            ui.button("Remove all", icon="delete_sweep", on_click=self._ask_reset).props("flat dense no-caps")

    @staticmethod
    def _on(args: Any, action: Callable[[int], T]) -> T | None:
        """Act on an object, if what the browser sent is an identity (uint32)."""
        good = isinstance(args, int) and not isinstance(args, bool) and 0 < args < 2**32
        return action(args) if good else None

    async def take_pictures(self) -> None:
        """Take pictures of the newest objects, beside the page: a large image takes a while."""
        link = self._page.view.link
        frame = link.frames.newest if link is not None else None
        if frame is not None and frame.objects:
            self._pictures = (link, await self._encoder.thumbnails(frame))

    def refresh(self) -> None:
        """Show the newest objects, with the newest pictures of them."""
        view = self._page.view
        link = view.link
        frame = link.frames.newest if link is not None else None
        nothing = self._why_nothing(frame)
        self._nothing.set_text(nothing)
        self._nothing.set_visibility(bool(nothing))
        self._table.set_visibility(not nothing)
        pictures = self._pictures[1] if self._pictures[0] is link else {}
        shown = (link, frame.number if frame is not None else 0, view.selected, view.hidden, pictures)
        if shown != self._shown:
            self._shown = shown
            self._table.rows = [self._row(item, frame, pictures) for item in frame.objects] if frame is not None else []
        if not view.read_only and link is not None:
            for button, service in ((self._save, "save_objects"), (self._load, "load_objects")):
                offered = link.offers(service)
                button.set_enabled(offered)
                button.props(f'title="{"" if offered else "This tracker has no ~/" + service}"')

    def _why_nothing(self, frame: Frame | None) -> str:
        """Say why no objects are listed; empty where some are."""
        if frame is not None and frame.tracked:
            return "" if frame.objects else "Nothing is tracked yet. Click a thing in the picture."
        link = self._page.view.link
        health = link.health if link is not None else None
        if health is None or not health.present:
            return "Objects are listed when a tracker runs."
        if health.state != "active":
            return f"The tracker is {health.state}: activate it to see its objects."
        return "The tracker is paused: resume it to see its objects." if health.paused else "No results come yet."

    def _row(self, item: SeenObject, frame: Frame, pictures: Mapping[int, str]) -> dict[str, Any]:
        message, view = item.message, self._page.view
        blue, green, red = colour_of(item.id)
        state = STATES.get(message.track_state, SEEN.get(message.state, "unknown"))
        seen = nanoseconds(message.last_seen)
        ago = (frame.stamp - seen) * 1e-9 if seen and message.state != TrackedObject.TRACKED else 0.0
        scores = view.link.scores.of(item.id) if view.link is not None else ()
        return {
            "id": item.id,
            "label": legible(message.label, LONGEST_TEXT),
            "colour": f"rgb({red}, {green}, {blue})",
            "state": state,
            "tone": TONES.get(state, "warning"),
            "score": f"{message.predicted_iou * message.presence:.2f}",
            "ago": f"{ago:.0f} s" if ago >= 1.0 else "",
            "plot": polyline(scores, *PLOT, top=1.0),
            "thumbnail": pictures.get(item.id, ""),
            "selected": item.id == view.selected,
            "hidden": item.id in view.hidden,
            "editable": not view.read_only,
        }

    def _ask_name(self, object_id: int) -> None:
        label = next((row["label"] for row in self._table.rows if row["id"] == object_id), "")
        with open_dialog(f"Rename object {object_id}") as dialog:
            name = ui.input("Label", value=label).props(f"autofocus outlined dense maxlength={LONGEST_TEXT}")

            async def rename() -> None:
                dialog.close()
                await self._page.attempt(lambda commands: commands.rename(object_id, name.value or ""), "renamed")

            name.on("keydown.enter", rename)
            with ui.row().classes("w-full justify-end"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Rename", on_click=rename).props("unelevated no-caps")

    def _ask_save(self) -> None:
        selected = self._page.view.selected
        with open_dialog(f"Save object {selected}" if selected else "Save all objects") as dialog:
            ui.label("The files go into the tracker's folder of objects, on its computer.").classes("text-sm")
            name = ui.input("Name (empty: the label)").props("autofocus outlined dense maxlength=64").classes("w-full")
            overwrite = ui.checkbox("Replace files of this name")

            async def save() -> None:
                dialog.close()
                ids = [selected] if selected else []
                await self._page.attempt(
                    lambda commands: commands.save(ids, name.value or "", overwrite=bool(overwrite.value)), "saved"
                )

            with ui.row().classes("w-full justify-end"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Save", on_click=save).props("unelevated no-caps")

    def _ask_load(self) -> None:
        with open_dialog("Load objects") as dialog:
            names = ui.input("Names of the files, by commas (empty: all)").props(
                "autofocus outlined dense maxlength=1000"
            )
            names.classes("w-80")

            async def load() -> None:
                dialog.close()
                files = [part.strip() for part in (names.value or "").split(",") if part.strip()]
                await self._page.attempt(lambda commands: commands.load(files), "loaded")

            with ui.row().classes("w-full justify-end"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Load", on_click=load).props("unelevated no-caps")

    def _ask_reset(self) -> None:
        with open_dialog("Remove all objects?") as dialog:

            async def reset() -> None:
                dialog.close()
                await self._page.remove_all()

            with ui.row().classes("w-full justify-end"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps autofocus")
                ui.button("Remove all", on_click=reset).props("unelevated no-caps color=negative")
