"""The images of one topic of a rosbag2 bag."""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import yaml

from sam_core import ImageError
from sam_ros.annotation.errors import AnnotationError
from sam_ros.annotation.sources.index import IndexBuilder, Problems, Window
from sam_ros.annotation.sources.mcap import BagMessage, McapFile, Topic
from sam_ros.annotation.sources.sqlite import SqliteFile
from sam_ros.annotation.typestore import typestore
from sam_ros.camera.names import natural_order
from sam_ros.conversions.decoder import ImageDecoder
from sam_ros.conversions.encodings import RgbImage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BagSource", "is_bag"]

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_METADATA = "metadata.yaml"
_ZSTD = b"\x28\xb5\x2f\xfd"
_KEPT_BLOCKS = 2
_LOOKED_AT = 32  # blocks of a file that was cut short in which topics are looked for
_LARGEST_MESSAGE = 1 << 30  # bytes when unpacked


def is_bag(path: Path) -> bool:
    """Tell whether a path is a bag: one of its files, or a folder of them."""
    if path.is_dir():
        return (path / _METADATA).is_file() or bool(_storage_files(path))
    return path.name.endswith(_SUFFIXES)


def _storage_files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and path.name.endswith(_SUFFIXES))
    return sorted(files, key=natural_order)


class BagSource:
    """Images of one topic, raw or compressed, with random access.

    Args:
        path: Folder of a bag, or one of its files (mcap, sqlite3; zstd or none).
        topic: Name of the topic; None where the bag has one topic of images.
        window: Which images are wanted.
        decode: From a message to an RGB array.

    Raises:
        AnnotationError: It is no bag, or has no such topic.
    """

    def __init__(self, path: Path, topic: str | None, window: Window, decode: ImageDecoder) -> None:
        self.name = path.name
        self.problems = Problems()
        self._decode = decode
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None
        self._files: list[McapFile | SqliteFile] = []
        self._blocks: list[tuple[McapFile | SqliteFile, int]] = []
        self._cache: dict[int, dict[int, BagMessage]] = {}
        try:
            for part in self._parts(path):
                self._open(part)
            self.topic = self._choose(topic)
            self.index = self._scan(window)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
        if self._unpacked is not None:
            self._unpacked.cleanup()

    def _parts(self, path: Path) -> list[Path]:
        """Return the files of a bag in their order."""
        if path.is_file():
            return [path]
        known = path / _METADATA
        if not known.is_file():
            self.problems.add(f"{path.name} has no {_METADATA}; its files are read in the order of their names.")
            return _storage_files(path)
        try:
            facts = yaml.safe_load(known.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
            names = [PurePath(name).name for name in facts["relative_file_paths"]]
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
            self.problems.add(
                f"{path.name}/{_METADATA} cannot be read; the files are read in the order of their names."
            )
            return _storage_files(path)
        for name in names:
            if not (path / name).is_file():
                self.problems.add(f"{path.name} lacks its file {name}; the others are read.")
        return [path / name for name in names if (path / name).is_file()]

    def _open(self, path: Path) -> None:
        try:
            if path.suffix == ".zstd":
                path = self._unpack(path)
            file = McapFile(path) if path.suffix == ".mcap" else SqliteFile(path)
        except (AnnotationError, OSError, zstd.ZstdError, EOFError) as error:
            self.problems.add(str(error) if isinstance(error, AnnotationError) else f"{path.name}: {error}.")
            return
        for problem in file.problems:
            self.problems.add(problem)
        self._files.append(file)
        self._blocks += [(file, number) for number in range(len(file.blocks))]

    def _unpack(self, path: Path) -> Path:
        """Unpack a file that was compressed as a whole, next to nothing else, for as long as the source is open."""
        if self._unpacked is None:
            self._unpacked = tempfile.TemporaryDirectory(prefix="sam_annotate_")
        target = Path(self._unpacked.name) / path.stem
        with zstd.open(path, "rb") as packed, target.open("wb") as file:
            while part := packed.read(1 << 20):
                file.write(part)
        return target

    def _choose(self, wanted: str | None) -> Topic:
        """Return the topic of images that is meant.

        Raises:
            AnnotationError: There is none, more than one, or it holds something else.
        """
        if not self._files:
            raise AnnotationError(
                f"{self.name} holds no readable file of a bag. {' '.join(self.problems.texts)}".strip()
            )
        topics = {topic.name: topic for file in self._files for topic in _topics(file)}
        images = [topic for topic in topics.values() if topic.type in IMAGE_TYPES]
        known = ", ".join(sorted(topic.name for topic in images)) or "none"
        if wanted is not None:
            if wanted not in topics:
                raise AnnotationError(f"{self.name} has no topic {wanted}; topics of images are: {known}.")
            if topics[wanted].type not in IMAGE_TYPES:
                raise AnnotationError(
                    f"The topic {wanted} of {self.name} has the type {topics[wanted].type or 'unknown'}, and is no "
                    f"topic of images; those are: {known}."
                )
            return topics[wanted]
        if len(images) != 1:
            raise AnnotationError(f"{self.name} has {len(images)} topics of images ({known}); name one by --topic.")
        return images[0]

    def _scan(self, window: Window) -> Any:
        builder = IndexBuilder(window, self.problems)
        for number in range(len(self._blocks)):
            try:
                for message in self._messages(number):
                    header = _header_of(message.data)
                    if header is None:
                        self.problems.add(f"A message of {message.time / 1e9:.3f} s has no readable header; left out.")
                        continue
                    builder.add(*header, (number, message.place[1]), message.time)
            except AnnotationError as error:
                self.problems.add(f"{error} Its images are left out.")
        return builder.finish()

    def _messages(self, number: int, *, again: bool = False) -> Iterator[BagMessage]:
        """Yield the topic's messages of a block; what is wrong with one is told unless it is read `again`."""
        file, block = self._blocks[number]
        for message in file.messages(block):
            if (message.topic.name, message.topic.type) == (self.topic.name, self.topic.type):
                unpacked = _unpacked(message)
                if unpacked is None:
                    if not again:
                        self.problems.add(f"The message of {message.time / 1e9:.3f} s cannot be unpacked; left out.")
                else:
                    yield replace(unpacked, place=(number, message.place[1]))

    def all_messages(self) -> Iterator[BagMessage]:
        """Yield the messages of all topics in the order of the files; those that cannot be read are left out."""
        for file, block in self._blocks:
            try:
                yield from filter(None, map(_unpacked, file.messages(block)))
            except AnnotationError:
                continue  # the scan has told it

    def message(self, frame: int) -> BagMessage:
        """Return the message of a frame as it was recorded.

        Raises:
            ImageError: It cannot be read any more.
        """
        number, position = (int(value) for value in self.index.places[frame])
        if number not in self._cache:
            while len(self._cache) >= _KEPT_BLOCKS:
                self._cache.pop(next(iter(self._cache)))
            try:
                self._cache[number] = {message.place[1]: message for message in self._messages(number, again=True)}
            except AnnotationError as error:
                raise ImageError(f"its message cannot be read again: {error}") from error
        return self._cache[number][position]

    def image(self, frame: int) -> RgbImage:
        """Return an image as uint8 RGB (H, W, 3).

        Raises:
            ImageError: It cannot be decoded.
        """
        message = self.message(frame)
        try:
            content: SimpleNamespace = typestore().deserialize_cdr(message.data, message.topic.type)
        except Exception as error:  # rosbags raises whatever its generated code stumbles over
            raise ImageError(f"its message is no {message.topic.type}: {error}") from error
        return self._decode(content)


def _unpacked(message: BagMessage) -> BagMessage | None:
    """Return a message as it was before it was compressed by itself; None where it cannot be unpacked."""
    if message.data[:4] != _ZSTD:  # a serialized message begins with a zero
        return message
    try:
        data = zstd.ZstdDecompressor().decompress(message.data, max_length=_LARGEST_MESSAGE)
    except zstd.ZstdError:
        return None
    return replace(message, data=data)


def _topics(file: McapFile | SqliteFile) -> list[Topic]:
    """Return the topics of a file; one that was cut short declares them in its chunks only."""
    if not file.topics:
        for number in range(min(len(file.blocks), _LOOKED_AT)):
            try:
                for _ in file.messages(number):
                    pass
            except AnnotationError:
                continue
    return file.topics


def _header_of(data: bytes) -> tuple[int, str] | None:
    """Return stamp (ns) and `frame_id` of a serialized message that begins with a header; None where there is none."""
    try:
        order = "<" if data[1] & 1 else ">"
        seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", data, 4)
        text = data[16 : 16 + length]
        if len(text) < length or nanoseconds >= 10**9:
            return None
        return seconds * 10**9 + nanoseconds, text.rstrip(b"\0").decode()
    except (struct.error, IndexError, UnicodeDecodeError):
        return None
