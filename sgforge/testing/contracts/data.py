"""What holds for sources and exporters: samples that can be read, files only where they were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp
from sgforge.statekey import state_key
from sgforge.testing.contracts.base import ComponentContract
from sgforge.testing.samples import tiny_samples

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["ExporterContract", "SourceContract", "publish_samples"]


def publish_samples(folder: Path, samples: list[Sample]) -> Snapshot:
    """A published snapshot of samples, in a new dataset under `folder`."""
    from sgforge.dataset import DatasetWriter

    keys = {sample.image_id: state_key(sample.image_id.encode()) for sample in samples}
    ordered = sorted(samples, key=lambda sample: sample.image_id.encode())
    with DatasetWriter.open(folder / "dataset") as writer:
        return writer.publish_source(ordered, [keys[sample.image_id] for sample in ordered])


class SourceContract(ComponentContract):
    """Contract of a source. Override `options_in` to write the files it reads into the folder given."""

    kind = "source"

    def read(self, folder: Path) -> list[Sample | SourceFailure]:
        """All it gives, with `folder` known as root "data"."""
        roots = Roots({"data": folder})
        with self.built(folder) as source:
            return list(source.samples(roots, "given"))

    def test_it_gives_samples(self, tmp_path: Path) -> None:
        found = self.read(tmp_path)
        assert found, "the options of this test must name files with at least one image"
        for item in found:
            assert isinstance(item, (Sample, SourceFailure)), f"{item!r} is neither Sample nor SourceFailure"

    def test_image_ids_are_unique(self, tmp_path: Path) -> None:
        ids = [item.image_id for item in self.read(tmp_path) if isinstance(item, Sample)]
        twice = sorted({image_id for image_id in ids if ids.count(image_id) > 1})
        assert not twice, f"given twice: {twice}"

    def test_reading_again_gives_the_same(self, tmp_path: Path) -> None:
        assert self.read(tmp_path) == self.read(tmp_path)

    def test_uris_name_a_root(self, tmp_path: Path) -> None:
        for item in self.read(tmp_path):
            if isinstance(item, Sample) and item.uri is not None:
                root, colon, path = item.uri.partition(":")
                is_relative = bool(root and colon) and not path.startswith("/")
                assert is_relative, f"{item.uri} is not root:relative/path"

    def test_its_stamp_stays_while_nothing_changes(self, tmp_path: Path) -> None:
        roots = Roots({"data": tmp_path})
        with self.built(tmp_path) as source:
            if not hasattr(source, "stamp"):
                pytest.skip("it offers no stamp, so it is always read")
            stamp = source.stamp(roots, "given")
            known = set(roots.names())
            found = list(source.samples(roots, "given"))
        assert stamp is None or isinstance(stamp, Stamp), f"{stamp!r} is no Stamp"
        if stamp is None:
            return
        absent = [path for path in stamp.files if not path.is_file()]
        assert not absent, f"files of the stamp that are not there: {absent}"
        used = {item.uri.partition(":")[0] for item in found if isinstance(item, Sample) and item.uri is not None}
        unnamed = {root.removesuffix("+turned") for root in used} - known
        assert not unnamed, f"stamp() must name the roots that samples() names: {sorted(unnamed)}"
        with self.built(tmp_path) as again:
            assert again.stamp(Roots({"data": tmp_path}), "given") == stamp, "nothing changed but the stamp"


class ExporterContract(ComponentContract):
    """Contract of an exporter."""

    kind = "exporter"

    def snapshot(self, folder: Path) -> Snapshot:
        """The snapshot to export."""
        return publish_samples(folder, tiny_samples(folder))

    def test_it_writes_and_counts(self, tmp_path: Path) -> None:
        output = tmp_path / "out"
        with self.built(tmp_path) as exporter:
            counts = exporter.export(self.snapshot(tmp_path), output)
        assert output.exists(), "nothing was written to the output path"
        assert counts, "an exporter counts what it wrote and what it left out"
        assert all(isinstance(count, int) and count >= 0 for count in counts.values()), f"odd counts: {dict(counts)}"

    def test_exporting_again_gives_the_same_bytes(self, tmp_path: Path) -> None:
        snapshot = self.snapshot(tmp_path)
        with self.built(tmp_path) as exporter:
            exporter.export(snapshot, tmp_path / "one")
            exporter.export(snapshot, tmp_path / "two")
        assert _contents(tmp_path / "one") == _contents(tmp_path / "two")

    def test_nothing_is_written_elsewhere(self, tmp_path: Path) -> None:
        snapshot = self.snapshot(tmp_path)
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        with self.built(tmp_path) as exporter:
            exporter.export(snapshot, tmp_path / "out")
        new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
        astray = [path for path in new if not path.is_relative_to(tmp_path / "out")]
        assert not astray, f"written outside the output path: {astray}"


def _contents(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
