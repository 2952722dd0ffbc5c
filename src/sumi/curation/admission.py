"""Which pictures of a data set a training run gets, and the record of them that stays with the model.

admission = admit_pictures(open_dataset(place), TrainingRules(declared={"licence": "own work"}))
train on admission.dataset, then admission.write(bundle_folder)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sumi.curation.picture_rights import OptOuts, PictureRights, find_rights, may_train
from sumi.curation.scan import PictureScan, Progress, scan_pictures
from sumi.curation.training_manifest import write_manifest
from sumi.data.picture_dataset import PictureDataset
from sumi.errors import SumiError

__all__ = ["TrainingAdmission", "TrainingRules", "admit_pictures"]


@dataclass(frozen=True)
class TrainingRules:
    """Which pictures may be trained on.

    Attributes:
        allow_unlicensed: whether those that name no licence may, where others do. Where none does, they are taken for
            one's own, and the model card says that nobody named a licence.
        opt_outs: who does not want to be trained on.
        declared: licence and author of pictures that name no licence, such as one's own.
    """

    allow_unlicensed: bool = False
    opt_outs: OptOuts = field(default_factory=OptOuts)
    declared: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingAdmission:
    """The pictures that may be trained on.

    Attributes:
        dataset: the pictures.
        rights: of each of them.
        scans: of each of them.
        refused: rights of those that may not be trained on.
    """

    dataset: PictureDataset
    rights: tuple[PictureRights, ...]
    scans: tuple[PictureScan, ...]
    refused: tuple[PictureRights, ...]

    def of(self, names: Collection[str]) -> TrainingAdmission:
        """Return the admission of only those pictures that were trained on."""
        chosen = set(names)
        kept = [number for number, one in enumerate(self.rights) if one.name in chosen]
        records = tuple(record for record in self.dataset if record.name in chosen)
        rights = tuple(self.rights[number] for number in kept)
        scans = tuple(self.scans[number] for number in kept)
        return replace(self, dataset=replace(self.dataset, records=records), rights=rights, scans=scans)

    @property
    def note(self) -> str:
        """What stands in the model card where pictures without a licence were allowed; otherwise ""."""
        count = sum(one.status == "unlicensed" for one in self.rights)
        return f"{count:,} of {len(self.rights):,} training pictures name no licence." if count else ""

    def write(self, folder: Path) -> Path:
        """Write the record into the folder of a model; `sumi rights who-saw` reads it."""
        return write_manifest(folder, self.rights, self.scans)


def admit_pictures(
    dataset: PictureDataset,
    rules: TrainingRules,
    progress: Progress = lambda done, of: None,
    engine: str = "local",
) -> TrainingAdmission:
    """Return the pictures that may be trained on. Pictures that cannot be read stay: training names them.

    Args:
        dataset: all pictures.
        rules: which of them may be trained on.
        progress: called after each picture.
        engine: "local" or "ray".

    Raises:
        SumiError: when none may be trained on.
    """
    scans = scan_pictures(dataset, progress, engine)
    rights = [find_rights(*pair, rules.opt_outs, rules.declared) for pair in zip(dataset, scans, strict=True)]
    unlicensed = rules.allow_unlicensed or not any(one.status == "licensed" for one in rights)
    admitted = [bool(scan.fault) or may_train(one, unlicensed) for one, scan in zip(rights, scans, strict=True)]
    refused = tuple(one for one, may in zip(rights, admitted, strict=True) if not may)
    sound = [n for n, may in enumerate(admitted) if may and not scans[n].fault]
    if refused and not sound:
        counts = Counter(one.status for one in refused)
        told = ", ".join(f"{count:,} {status}" for status, count in counts.most_common())
        raise SumiError(
            f"no picture in {dataset.place} may be trained on ({told}): are they yours? Say so with --licence "
            '"own work"; or name the licence of each in a field license, or pass --allow-unlicensed'
        )
    return TrainingAdmission(
        replace(dataset, records=tuple(record for record, may in zip(dataset, admitted, strict=True) if may)),
        tuple(rights[n] for n in sound),
        tuple(scans[n] for n in sound),
        refused,
    )
