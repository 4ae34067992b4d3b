"""Recordings on disk: finding, reading, checking, converting and mixing them."""
