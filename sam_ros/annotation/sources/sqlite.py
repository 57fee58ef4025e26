"""Read the messages of a rosbag2 database (sqlite3)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.sources.mcap import BagMessage, Topic

__all__ = ["SqliteFile"]

_BLOCK = 32  # rows of a block
_MOST_ROWS = 50_000_000  # of a file


class SqliteFile:
    """A database of a bag, read in blocks of neighbouring rows, as an `McapFile` is.

    Args:
        path: The file.

    Attributes:
        blocks: One number, the first row, for each block.
        problems: What is wrong with the file as a whole, in sentences.

    Raises:
        AnnotationError: It is no such database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        try:
            self._database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
            rows = self._database.execute("SELECT id, name, type FROM topics").fetchall()
            self._topics = {row[0]: Topic(str(row[1]), str(row[2])) for row in rows}
            first, last = self._database.execute("SELECT min(id), max(id) FROM messages").fetchone()
        except sqlite3.Error as error:
            raise AnnotationError(f"{path.name} is no readable rosbag2 database: {error}.") from error
        if first is not None and last - first >= _MOST_ROWS:
            raise AnnotationError(f"{path.name} is damaged: its rows are numbered from {first} to {last}.")
        self.blocks = range(0) if first is None else range(first, last + 1, _BLOCK)
        if path.with_name(f"{path.name}-wal").exists():
            self.problems.append(
                f"{path.name} was not closed by its recorder: what stands in {path.name}-wal is not read. "
                "Open it once with sqlite3 to take that in."
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def topics(self) -> list[Topic]:
        """The topics."""
        return list(self._topics.values())

    def messages(self, number: int) -> Iterator[BagMessage]:
        """Yield the messages of a block, in the order in which they were recorded.

        Raises:
            AnnotationError: The database is damaged there.
        """
        first = self.blocks[number]
        try:
            rows = self._database.execute(
                "SELECT id, topic_id, timestamp, data FROM messages WHERE id >= ? AND id < ? ORDER BY id",
                (first, first + _BLOCK),
            )
            for row, topic_id, time, data in rows:
                topic = self._topics.get(topic_id)
                if topic is not None and isinstance(data, bytes) and isinstance(time, int):
                    yield BagMessage(topic, time, data, (number, row - first))
        except sqlite3.Error as error:
            raise AnnotationError(f"{self.path.name}: rows from {first} on cannot be read: {error}.") from error
