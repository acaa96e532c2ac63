"""Moved to kerasref.command_line; here until the last script is a door."""

from kerasref.command_line import NetworkOptions  # noqa: F401
