"""Errors a user can act on.

Every message says what is wrong, where (file, row, column), what was found and what to do next.
The command line turns each of these into one line and exit code 2; anything else is a defect of
conceptaudit and keeps its traceback.
"""


class ConceptAuditError(Exception):
    """Base class of every error that conceptaudit raises on purpose."""


class ConfigError(ConceptAuditError, ValueError):
    """A parameter, option or combination of them that cannot be used."""


class DataError(ConceptAuditError, ValueError):
    """A user's file that cannot be read, or that contradicts itself."""


class ArtifactMismatchError(ConceptAuditError):
    """A result on disk that belongs to other inputs, settings or versions."""


class AccountError(ConceptAuditError):
    """A shard whose samples are not all accounted for: its numbers must not be trusted."""


class MissingDependencyError(ConceptAuditError, ImportError):
    """An optional package that the requested step needs and that is not installed."""


class FitError(ConceptAuditError, ValueError):
    """Data from which the requested curve cannot be estimated."""
