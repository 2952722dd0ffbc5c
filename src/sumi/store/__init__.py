"""Storage: pictures as files, everything else in one database. Nothing that was acknowledged is lost.

Needs the extra `serve`. It handles bytes, JSON and numbers, and knows nothing of what draws.
"""

try:
    import alembic  # noqa: F401
    import sqlalchemy  # noqa: F401
except ModuleNotFoundError as error:
    from sumi.errors import SumiError

    raise SumiError(f'the store needs {error.name}: pip install -e ".[serve]"') from error

from sumi.store.backup import RecoveredPicture, RestoreReport, backup_store, restore_rows
from sumi.store.bucket import Bucket
from sumi.store.database import Database, DatabaseFaultError, UnavailableError
from sumi.store.fair_queue import PreemptionFilter
from sumi.store.files import Files, Folder, LostFileError
from sumi.store.gallery import Gallery
from sumi.store.jobs import LEASE_S, MOST_ATTEMPTS, ConflictError, Jobs
from sumi.store.keys import SCOPES, Keys, NewKey
from sumi.store.limits import Limits, OverLimitError
from sumi.store.new_picture import NewPicture
from sumi.store.pagination import Page
from sumi.store.reconcile import GRACE_S, ReconcileReport
from sumi.store.reviews import Reviews
from sumi.store.schema import FINAL, LOCAL, STATUSES, Job, Key, PictureRow, Review
from sumi.store.store import Store, open_store
from sumi.store.worker import Worker

__all__ = [
    "FINAL",
    "GRACE_S",
    "LEASE_S",
    "LOCAL",
    "MOST_ATTEMPTS",
    "SCOPES",
    "STATUSES",
    "Bucket",
    "ConflictError",
    "Database",
    "DatabaseFaultError",
    "Files",
    "Folder",
    "Gallery",
    "Job",
    "Jobs",
    "Key",
    "Keys",
    "Limits",
    "LostFileError",
    "NewKey",
    "NewPicture",
    "OverLimitError",
    "Page",
    "PictureRow",
    "PreemptionFilter",
    "ReconcileReport",
    "RecoveredPicture",
    "RestoreReport",
    "Review",
    "Reviews",
    "Store",
    "UnavailableError",
    "Worker",
    "backup_store",
    "open_store",
    "restore_rows",
]
