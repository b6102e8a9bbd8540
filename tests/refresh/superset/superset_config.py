"""Superset's settings for the recipe: everything in one folder, caches that outlive a request."""

import os
from datetime import timedelta
from pathlib import Path

HOME = Path(os.environ["SUPERSET_HOME"])

SECRET_KEY = os.environ["CLAIMS_ETL_SUPERSET_SECRET"]
SQLALCHEMY_DATABASE_URI = f"sqlite:///{HOME / 'metadata.db'}?check_same_thread=false"
# The connection to the warehouse goes through its socket.
PREVENT_UNSAFE_DB_CONNECTIONS = False
# A token ends within one refresh, which takes 15 minutes by default.
JWT_ACCESS_TOKEN_EXPIRES = timedelta(seconds=int(os.environ["CLAIMS_ETL_SUPERSET_TOKEN_SECONDS"]))
# One machine, one user, no TLS.
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
CACHE_CONFIG = {
    "CACHE_TYPE": "FileSystemCache",
    "CACHE_DIR": str(HOME / "cache"),
    "CACHE_DEFAULT_TIMEOUT": 3600,
}
# Without a cache of charts' data there would be nothing to warm.
DATA_CACHE_CONFIG = {
    **CACHE_CONFIG,
    "CACHE_DIR": str(HOME / "data_cache"),
    "CACHE_KEY_PREFIX": "data_",
}
