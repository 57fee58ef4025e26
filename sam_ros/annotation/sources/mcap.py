"""Read an MCAP file chunk by chunk, as far as it is sound.

rosbags refuses a file that was cut short and stops at a chunk with a wrong checksum; here both cost what they damage
and no more. Source of the format: the MCAP specification (mcap.dev/spec), "Records".
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from sam_ros.annotation.errors import AnnotationError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BagMessage", "McapFile", "Topic"]

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_LARGEST_CHUNK = 1 << 30  # bytes when unpacked; recorders write about a megabyte
_LOOSE_BYTES = 4 << 20  # messages outside chunks are read in blocks of about this size
_CHUNK_HEADER = struct.Struct("<QQQI")  # start and end time, uncompressed size, CRC


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name: Its name.
        type: Of its messages, e.g. "sensor_msgs/msg/Image".
        definition: Text of the messages' definition, where the file has it.
    """

    name: str
    type: str
    definition: str = ""


@dataclass(frozen=True)
class BagMessage:
    """A message as it was recorded.

    Attributes:
        topic: Its topic.
        time: When it was recorded, ns.
        data: Serialized.
        place: Block and position in it, to find it again.
    """

    topic: Topic
    time: int
    data: bytes
    place: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Block:
    """A chunk, or neighbouring messages outside chunks.

    Attributes:
        offset: Of its records, or of what unpacks to them, in the file.
        length: In the file, bytes.
        compression: "", "zstd" or "lz4".
        size: Unpacked, bytes.
        crc: Checksum of what is unpacked; 0 for none.
    """

    offset: int
    length: int
    compression: str = ""
    size: int = 0
    crc: int = 0


class McapFile:
    """An MCAP file.

    Args:
        path: The file.

    Attributes:
        blocks: Its chunks, in the order of the file.
        problems: What is wrong with the file as a whole, in sentences.

    Raises:
        AnnotationError: It is no MCAP file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self._schemas: dict[int, tuple[str, str]] = {}
        self._topics: dict[int, Topic] = {}
        self.blocks: list[_Block] = []
        self._file = path.open("rb")
        if self._file.read(8) != _MAGIC:
            self._file.close()
            raise AnnotationError(f"{path.name} is no MCAP file: it does not begin as one.")
        self._scan()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def topics(self) -> list[Topic]:
        """The topics that are declared outside chunks; a file that was cut short declares them inside."""
        return list(self._topics.values())

    def _scan(self) -> None:
        """Find the chunks without reading them."""
        end = self.path.stat().st_size
        place, loose = 8, None
        while True:
            self._file.seek(place)
            head = self._file.read(9)
            length = struct.unpack_from("<Q", head, 1)[0] if len(head) == 9 else 0
            if len(head) < 9 or place + 9 + length > end:
                self.problems.append(
                    f"{self.path.name} is cut short after {place} bytes: what was recorded later is missing."
                )
                break
            op = head[0]
            if op == _MESSAGE:
                if loose is None or place - loose > _LOOSE_BYTES:
                    self._add_loose(loose, place)
                    loose = place
            else:
                self._add_loose(loose, place)
                loose = None
            if op == _CHUNK:
                self._add_chunk(place + 9, length)
            elif op in (_SCHEMA, _CHANNEL):
                self._learn(op, self._file.read(length))
            elif op in (_DATA_END, _FOOTER):
                self._scan_summary(place + 9 + length, end)
                break
            place += 9 + length
        self._add_loose(loose, place)

    def _scan_summary(self, place: int, end: int) -> None:
        """Read the schemas and channels that are repeated after the data."""
        while place + 9 <= end - len(_MAGIC):
            self._file.seek(place)
            op, length = struct.unpack("<BQ", self._file.read(9))
            if place + 9 + length > end:
                return
            if op in (_SCHEMA, _CHANNEL):
                self._learn(op, self._file.read(length))
            place += 9 + length

    def _add_loose(self, start: int | None, end: int) -> None:
        if start is not None and end > start:
            self.blocks.append(_Block(start, end - start, size=end - start))

    def _add_chunk(self, offset: int, length: int) -> None:
        head = self._file.read(min(length, 64))
        try:
            _, _, size, crc = _CHUNK_HEADER.unpack_from(head)
            name_length = struct.unpack_from("<I", head, _CHUNK_HEADER.size)[0]
            start = _CHUNK_HEADER.size + 4
            compression = head[start : start + name_length].decode("ascii", "replace")
            records = struct.unpack_from("<Q", head, start + name_length)[0]
        except struct.error:
            self.problems.append(f"{self.path.name}: the chunk at byte {offset} has no readable header; left out.")
            return
        begin = offset + start + name_length + 8
        if begin + records > offset + length:
            self.problems.append(f"{self.path.name}: the chunk at byte {offset} is longer than its record; left out.")
            return
        self.blocks.append(_Block(begin, records, compression, size, crc))

    def messages(self, number: int) -> Iterator[BagMessage]:
        """Yield the messages of a block in the order of the file.

        Raises:
            AnnotationError: The block cannot be unpacked, or its checksum is wrong.
        """
        block = self.blocks[number]
        data = self._unpacked(block)
        place, position = 0, 0
        while place + 9 <= len(data):
            op, length = struct.unpack_from("<BQ", data, place)
            body = data[place + 9 : place + 9 + length]
            if len(body) < length:
                raise AnnotationError(f"{self._name(block)} ends in the middle of a record.")
            if op in (_SCHEMA, _CHANNEL):
                self._learn(op, body)
            elif op == _MESSAGE and length >= 22:
                channel, _, time, _ = struct.unpack_from("<HIQQ", body)
                topic = self._topics.get(channel)
                if topic is not None:
                    yield BagMessage(topic, time, body[22:], (number, position))
                position += 1
            place += 9 + length

    def _unpacked(self, block: _Block) -> bytes:
        if block.size > _LARGEST_CHUNK:
            raise AnnotationError(f"{self._name(block)} would unpack to {block.size} bytes.")
        self._file.seek(block.offset)
        packed = self._file.read(block.length)
        try:
            if block.compression == "zstd":
                data = zstd.ZstdDecompressor().decompress(packed, max_length=block.size + 1)
            elif block.compression == "lz4":
                from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

                data = LZ4FrameDecompressor().decompress(packed, max_length=block.size + 1)
            elif block.compression in ("", "none"):
                data = packed
            else:
                raise AnnotationError(f"{self._name(block)} has the unknown compression '{block.compression}'.")
        except (zstd.ZstdError, RuntimeError, EOFError) as error:
            raise AnnotationError(f"{self._name(block)} cannot be unpacked: {error}.") from error
        if len(data) != block.size:
            raise AnnotationError(f"{self._name(block)} unpacks to {len(data)} bytes instead of {block.size}.")
        if block.crc and crc32(data) != block.crc:
            raise AnnotationError(f"{self._name(block)} has a wrong checksum.")
        return data

    def _name(self, block: _Block) -> str:
        return f"{self.path.name}: the chunk at byte {block.offset}"

    def _learn(self, op: int, body: bytes) -> None:
        """Take a schema or a channel in; what cannot be read is left out, as are then its messages."""
        try:
            if op == _SCHEMA:
                (number,) = struct.unpack_from("<H", body)
                name, place = _text(body, 2)
                _, place = _text(body, place)
                self._schemas[number] = (name, _text(body, place)[0])
            else:
                number, schema = struct.unpack_from("<HH", body)
                self._topics.setdefault(number, Topic(_text(body, 4)[0], *self._schemas.get(schema, ("", ""))))
        except (struct.error, UnicodeDecodeError):
            return


def _text(body: bytes, place: int) -> tuple[str, int]:
    """Read a string with its length before it; return it and where the next field begins."""
    (length,) = struct.unpack_from("<I", body, place)
    return body[place + 4 : place + 4 + length].decode(), place + 4 + length
