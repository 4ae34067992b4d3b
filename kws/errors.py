"""The exceptions that kws raises on purpose; each message says what to do next."""


class KwsError(Exception):
    """Base of every error that a caller of kws may want to catch."""


class ModelError(KwsError):
    """A model folder, manifest or artefact is missing, damaged or of an unknown version."""


class AudioError(KwsError):
    """Audio could not be captured, decoded or understood."""


class BackendUnavailable(KwsError):
    """The runtime that a model needs is not installed or does not work on this machine."""


class DataError(KwsError):
    """A folder of recordings is missing, empty or not in the expected layout."""
