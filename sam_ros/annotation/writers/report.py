"""Write a report: tracks over time, gaps, and the frames that a person should look at first."""

from __future__ import annotations

from typing import ClassVar

import cv2

from sam_ros.annotation.findings import Finding, TrackObserver
from sam_ros.annotation.records import FrameRecord
from sam_ros.annotation.writers.pictures import drawn
from sam_ros.annotation.writers.plots import plot_tracks
from sam_ros.annotation.writers.writer import Writer, frame_name
from sam_ros.conversions.encodings import RgbImage

__all__ = ["ReportWriter"]

_SHOWN = 12  # findings with a picture
_LISTED = 50
_PROBLEMS = 100


class ReportWriter(Writer):
    """`report/report.md`, with plots and pictures beside it."""

    name: ClassVar[str] = "report"
    target: ClassVar[str] = "report"

    def begin(self) -> None:
        """Make the folder."""
        self.partial.mkdir()
        self._observer = TrackObserver(len(self.source.index))
        self._problems: list[str] = list(self.source.problems.texts)
        self._count = self.source.problems.count
        self._usable = 0
        self._records: dict[int, FrameRecord] = {}  # of the findings that get a picture

    def add(self, record: FrameRecord, image: RgbImage | None) -> None:
        """Look at a frame."""
        self._usable += record.is_usable
        if record.problem:
            self._count += 1
            if len(self._problems) < _PROBLEMS:
                self._problems.append(f"Frame {record.frame}: {record.problem}")
        self._observer.add(record)
        wanted = {finding.frame for finding in self._observer.findings()[:_SHOWN]}
        if record.frame in wanted:
            self._records[record.frame] = record
        if len(self._records) > 4 * _SHOWN:
            self._records = {frame: kept for frame, kept in self._records.items() if frame in wanted}

    def end(self) -> None:
        """Write the report."""
        plotted = plot_tracks(self._observer, self.labels, self.source, self.partial)
        findings = self._observer.findings()
        lines = [f"# {self.source.name}", "", *self._summary(), "", "## Look here first", "", *self._listed(findings)]
        lines += ["", "## Tracks", "", *self._tracks()]
        lines += [f"![{name}]({name}.png)" for name in plotted]
        lines += ["", "## What could not be used", "", *(f"- {text}" for text in self._problems or ["Nothing."])]
        if self._count > len(self._problems):
            lines.append(f"- and {self._count - len(self._problems)} more")
        (self.partial / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _summary(self) -> list[str]:
        index = self.source.index
        seconds = (int(index.stamps.max()) - int(index.stamps.min())) / 1e9
        return [
            f"{len(index)} images over {seconds:.1f} s, {self._usable} of them usable; {len(self.labels)} objects; "
            f"{self._count} problems."
        ]

    def _listed(self, findings: list[Finding]) -> list[str]:
        if not findings:
            return ["Nothing stands out."]
        lines = ["| frame | stamp (s) | object | why |", "|---|---|---|---|"]
        for one in findings[:_LISTED]:
            stamp, _ = self.source.index.header(one.frame)
            lines.append(f"| {one.frame} | {stamp / 1e9:.3f} | {self._called(one.object_id)} | {one.why} |")
        lines.append("")
        for frame in dict.fromkeys(one.frame for one in findings[:_SHOWN]):
            if frame in self._records:
                picture = drawn(self._records[frame], self.source.image(frame), self.labels)
                name = f"frame_{frame_name(frame)}.jpg"
                (self.partial / name).write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
                lines.append(f"![frame {frame}]({name})")
        return lines

    def _tracks(self) -> list[str]:
        lines = [
            "| object | first | last | seen on | gaps | longest gap | mean score |",
            "|---|---|---|---|---|---|---|",
        ]
        for object_id, track in sorted(self._observer.tracks.items()):
            score = track.score_sum / track.seen if track.seen else 0.0
            ends = f"{track.first_seen} | {track.last_seen}" if track.seen else "never | never"
            lines.append(
                f"| {self._called(object_id)} | {ends} | {track.seen} of {track.known} frames | {track.gaps} | "
                f"{track.longest_gap} frames | {score:.2f} |"
            )
        return [*lines, ""]

    def _called(self, object_id: int) -> str:
        label = self.labels.get(object_id, "").replace("|", "\\|")
        return f"{object_id} {label}".strip()
