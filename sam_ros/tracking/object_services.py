"""The services about objects that are tracked already: rename, save, load."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from sam_msgs.srv import LoadObjects, RenameObject, SaveObjects

from sam_core import CapacityError, ObjectIdError, SavedObjectError, UnknownObjectError
from sam_core.saved_objects import LARGEST_FILE
from sam_core.streaming import Tracker
from sam_core.streaming.prompt import check_label
from sam_ros.runtime.errors import RefusedError
from sam_ros.runtime.qos import SERVICE_QOS
from sam_ros.runtime.waiting import answer_of
from sam_ros.tracking.autosave import Autosave
from sam_ros.tracking.inference import InferenceThread
from sam_ros.tracking.object_store import MOST_FILES, ObjectStore, check_name
from sam_ros.tracking.prompt_services import PromptServices
from sam_ros.tracking.request_memory import bytes_of
from sam_ros.tracking.session import Session
from sam_ros.tracking.work_queue import Lane

__all__ = ["ObjectServices"]

R = TypeVar("R")

# Of one object or file: the others go on.
_PROBLEMS = (SavedObjectError, ObjectIdError, CapacityError, UnknownObjectError)


class ObjectServices:
    """Serve rename_object, save_objects and load_objects, in every lifecycle state.

    Objects and files are gone through one by one, so that frames are tracked in between and memory stays bounded.

    Args:
        node: Where the services live.
        prompts: Knows whether the tracker is ready, and counts refusals.
    """

    def __init__(self, node: LifecycleNode, prompts: PromptServices) -> None:
        self._node = node
        self._prompts = prompts
        self._store: ObjectStore | None = None  # from configure to release, where there is a folder
        self._autosave: Autosave | None = None  # likewise
        options: dict[str, Any] = {"qos_profile": SERVICE_QOS, "callback_group": ReentrantCallbackGroup()}
        node.create_service(RenameObject, "~/rename_object", self._on_rename, **options)
        node.create_service(SaveObjects, "~/save_objects", self._on_save, **options)
        node.create_service(LoadObjects, "~/load_objects", self._on_load, **options)

    def configure(self, folder: str, period: float, tracker: Tracker, inference: InferenceThread[Any]) -> None:
        """Open the folder of saved objects, and bring those of the last autosave back (transition).

        Args:
            folder: The folder; empty for none.
            period: Seconds from one autosave to the next; 0 for none.
            tracker: The weights that make and read memories.
            inference: Owns the objects.

        Raises:
            ValueError, OSError: An autosave without a folder; or the folder cannot be made.
        """
        if folder:
            self._store = ObjectStore(Path(folder).expanduser(), tracker)
        elif period:
            raise ValueError("autosave needs the parameter objects_folder, the folder for its files")
        if period and self._store is not None:
            self._autosave = Autosave(self._node, self._store, inference, period)

    def release(self, timeout: float) -> None:
        """Save all objects once more, for at most `timeout` s, and close the folder (transition); files stay."""
        autosave, self._autosave = self._autosave, None
        if autosave is not None:
            autosave.finish(timeout)
        store, self._store = self._store, None
        if store is not None:
            store.close()

    @property
    def problem(self) -> str:
        """Why autosave fails, in a sentence; empty where it does not."""
        autosave = self._autosave
        return "" if autosave is None else autosave.problem

    async def _on_rename(self, request: RenameObject.Request, response: RenameObject.Response) -> RenameObject.Response:
        try:
            check_label(request.label)  # a long one does not wait
            await self._run(lambda session: session.stream.rename(request.object_id, request.label))
            response.success = True
        except Exception as error:
            response.message = self._prompts.refuse(error)
        return response

    async def _on_save(self, request: SaveObjects.Request, response: SaveObjects.Response) -> SaveObjects.Response:
        try:
            with self._prompts.memory.hold(bytes_of(request) + LARGEST_FILE):
                return self._answer(response, await self._save(request, response))
        except Exception as error:
            response.message = self._prompts.refuse(error)
            return response

    async def _save(self, request: SaveObjects.Request, response: SaveObjects.Response) -> list[str]:
        """Save objects one by one; return what went wrong."""
        problems: list[str] = []
        store = self._ready_store()
        check_name(request.name)
        wanted = sorted(set(request.object_ids))
        tracked = await self._run(lambda session: [info.object_id for info in session.stream.objects])
        unknown = [object_id for object_id in wanted if object_id not in tracked]
        if unknown:
            known = ", ".join(map(str, tracked)) or "none"
            problems.append(f"There are no objects {', '.join(map(str, unknown[:8]))}; tracked are: {known}.")
        for object_id in [i for i in tracked if i in wanted] if wanted else tracked:
            try:
                saved = await self._run(partial(Session.saved, object_id=object_id, tracker=store.tracker))
                written = store.write(saved, request.name, overwrite=request.overwrite)
                response.files.append(await answer_of(self._node, written))
            except _PROBLEMS as error:
                problems.append(f"object {object_id} is not saved: {error}")
        self._note("saved", response.files)
        return problems

    async def _on_load(self, request: LoadObjects.Request, response: LoadObjects.Response) -> LoadObjects.Response:
        try:
            with self._prompts.memory.hold(bytes_of(request) + LARGEST_FILE):
                return self._answer(response, await self._load(request, response))
        except Exception as error:
            response.message = self._prompts.refuse(error)
            return response

    async def _load(self, request: LoadObjects.Request, response: LoadObjects.Response) -> list[str]:
        """Load files one by one, so that the response has the ids of those that are; return what went wrong."""
        problems: list[str] = []
        store = self._ready_store()
        if len(request.files) > MOST_FILES:
            raise SavedObjectError(f"A call names at most {MOST_FILES} files, not {len(request.files)}.")
        for file in request.files or await answer_of(self._node, store.files()):
            try:
                saved = await answer_of(self._node, store.read(file))
                recall = partial(Session.recall, saved=saved, keep_id=request.keep_ids)
                response.object_ids.append(await self._run(recall))
            except _PROBLEMS as error:
                problems.append(f"{file!r:.100} is not loaded: {error}")
        self._note("looked for", [str(object_id) for object_id in response.object_ids])
        return problems

    async def _run(self, command: Callable[[Session], R]) -> R:
        return await answer_of(self._node, self._prompts.tracking(active=False).submit(command, Lane.PROMPT))

    def _answer(self, response: R, problems: list[str]) -> R:
        response.success = not problems  # type: ignore[attr-defined]
        if problems:
            response.message = self._prompts.refuse(SavedObjectError("; ".join(problems)))  # type: ignore[attr-defined]
        return response

    def _note(self, what: str, which: list[str]) -> None:
        if which:
            self._node.get_logger().info(f"{what}: {', '.join(which)}")

    def _ready_store(self) -> ObjectStore:
        self._prompts.tracking(active=False)
        store = self._store
        if store is None:
            raise RefusedError(
                "objects are neither saved nor loaded: start the node with the parameter objects_folder, the "
                "folder for their files"
            )
        return store
