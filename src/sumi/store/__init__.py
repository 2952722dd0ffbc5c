"""Where things are kept: pictures as files, everything else in one database, and nothing acknowledged is lost.

Needs the extra `serve`. It knows bytes, JSON and numbers, and nothing of what draws.
"""

try:
    import alembic  # noqa: F401
    import sqlalchemy  # noqa: F401
except ModuleNotFoundError as error:
    from sumi.errors import SumiError

    raise SumiError(f'keeping jobs needs {error.name}: pip install -e ".[serve]"') from error

from sumi.store.backup import Known, Restored, backup, restore
from sumi.store.bucket import Bucket
from sumi.store.database import Database, DatabaseFaultError, UnavailableError
from sumi.store.drawn import Drawn
from sumi.store.files import Files, Folder, LostFileError
from sumi.store.gallery import Gallery
from sumi.store.jobs import LEASE_S, MOST_ATTEMPTS, ConflictError, Jobs
from sumi.store.keys import SCOPES, Keys, NewKey
from sumi.store.limits import Limits, OverLimitError
from sumi.store.pagination import Page
from sumi.store.reconcile import GRACE_S, ReconcileReport
from sumi.store.schema import FINAL, LOCAL, STATUSES, Job, Key, Picture
from sumi.store.store import Store, open_store
from sumi.store.turns import Beyond
from sumi.store.worker import Worker

__all__ = [
    "FINAL",
    "GRACE_S",
    "LEASE_S",
    "LOCAL",
    "MOST_ATTEMPTS",
    "SCOPES",
    "STATUSES",
    "Beyond",
    "Bucket",
    "ConflictError",
    "Database",
    "DatabaseFaultError",
    "Drawn",
    "Files",
    "Folder",
    "Gallery",
    "Job",
    "Jobs",
    "Key",
    "Keys",
    "Known",
    "Limits",
    "LostFileError",
    "NewKey",
    "OverLimitError",
    "Page",
    "Picture",
    "ReconcileReport",
    "Restored",
    "Store",
    "UnavailableError",
    "Worker",
    "backup",
    "open_store",
    "restore",
]
