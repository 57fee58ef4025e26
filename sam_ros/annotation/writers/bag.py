"""Write a rosbag2 bag (mcap) with the topics that the node publishes, and by choice the recording's own messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as BagFile
from rosbags.typesys import get_types_from_msg

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.sources.bag import BagSource
from sam_ros.annotation.sources.mcap import BagMessage, Topic
from sam_ros.annotation.typestore import typestore
from sam_ros.annotation.writers.messages import BOXES, IMAGE, INFO, OBJECTS, header_of, info_of, messages_of
from sam_ros.annotation.writers.writer import Writer, remove
from sam_ros.conversions.encodings import RgbImage

__all__ = ["BagWriter"]

_TYPES = {"objects": OBJECTS, "detections": BOXES, "label_image": IMAGE, "label_info": INFO}
_VERSION = 9  # of rosbag2's format


class BagWriter(Writer):
    """Each message is recorded at the time of its image, and carries its header."""

    name: ClassVar[str] = "bag"
    target: ClassVar[str] = "bag"

    def begin(self) -> None:
        """Open the bag and declare the topics."""
        self._bag = BagFile(self.partial / self.target, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._bag.open()
        prefix = self.settings.topics.rstrip("/")
        self._topics = {
            name: self._bag.add_connection(f"{prefix}/{name}", kind, typestore=typestore())
            for name, kind in _TYPES.items()
        }
        self._sequence = 0
        self._described: tuple[tuple[int, str], ...] | None = None
        self._copied: dict[Topic, Any] = {}
        self._originals = self._read_originals()
        self._next = next(self._originals, None)

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Write a frame's messages, after what was recorded until then."""
        time = int(self.source.index.times[record.frame])
        self._copy(until=time)
        if not record.is_usable:
            return
        header = header_of(*self.source.index.header(record.frame))
        for name, message in messages_of(record, self._sequence, self.labels, header).items():
            self._write(name, time, message)
        described = tuple((one.object_id, self.labels.get(one.object_id, "")) for one in record.objects)
        if described != self._described:
            self._described = described
            self._write("label_info", time, info_of(described, header, self.threshold))
        self._sequence += 1

    def end(self) -> None:
        """Copy the rest and close the bag."""
        self._copy(until=None)
        self._bag.close()

    def appear(self) -> None:
        """Put the bag in its place; its file is named after its folder, so it was written below `partial`."""
        remove(self.path)
        (self.partial / self.target).replace(self.path)
        remove(self.partial)

    def abort(self) -> None:
        """Leave nothing behind."""
        self._bag.abort()
        super().abort()

    def _write(self, name: str, time: int, message: Any) -> None:
        self._bag.write(self._topics[name], time, typestore().serialize_cdr(message, _TYPES[name]))

    # --- the recording's own messages ---------------------------------------------------------------------------------

    def _read_originals(self) -> Iterator[BagMessage]:
        if not self.settings.originals:
            return iter(())
        if not isinstance(self.source, BagSource):
            raise AnnotationError(f"{self.source.name} is no bag: it has no messages to copy.")
        return self.source.all_messages()

    def _copy(self, until: int | None) -> None:
        """Copy messages up to a time in ns; all where None."""
        while self._next is not None and (until is None or self._next.time <= until):
            connection = self._connection(self._next.topic)
            if connection is not None:
                self._bag.write(connection, self._next.time, self._next.data)
            self._next = next(self._originals, None)

    def _connection(self, topic: Topic) -> Any:
        """Return where messages of a topic go; None where their type is not known."""
        if topic not in self._copied:
            self._copied[topic] = self._declare(topic)
        return self._copied[topic]

    def _declare(self, topic: Topic) -> Any:
        if any(topic.name == connection.topic for connection in self._topics.values()):
            self.problems.append(f"The recording's topic {topic.name} is not copied: the run's own has that name.")
            return None
        store = typestore()
        try:
            if topic.type not in store.types:
                store.register(get_types_from_msg(topic.definition, topic.type))
            return self._bag.add_connection(topic.name, topic.type, typestore=store)
        except Exception as error:  # rosbags raises whatever its parser stumbles over
            self.problems.append(
                f"The recording's topic {topic.name} is not copied: {topic.type} is unknown ({error})."
            )
            return None
