"""Files written whole, digests, shard records and run folders, as the rooms import them."""

from conceptaudit.store.files import (
    FORMULA,
    RUN_PACKAGES,
    Json,
    canonical_json,
    csv_bytes,
    digest_of,
    file_digest,
    inert_text,
    is_digest,
    package_versions,
    read_json,
    whole_file,
    write_csv,
    write_json,
    write_npy,
    write_parquet,
    write_text,
)
from conceptaudit.store.layouts import LOCK, LOG, MANIFEST, MARK, STARTED
from conceptaudit.store.locks import exclusive
from conceptaudit.store.run_folder import RunFolder
from conceptaudit.store.shards import ShardStore

__all__ = [
    "FORMULA",
    "LOCK",
    "LOG",
    "MANIFEST",
    "MARK",
    "RUN_PACKAGES",
    "STARTED",
    "Json",
    "RunFolder",
    "ShardStore",
    "canonical_json",
    "csv_bytes",
    "digest_of",
    "exclusive",
    "file_digest",
    "inert_text",
    "is_digest",
    "package_versions",
    "read_json",
    "whole_file",
    "write_csv",
    "write_json",
    "write_npy",
    "write_parquet",
    "write_text",
]
