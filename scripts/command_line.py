"""Moved to kerasref.command_line; here until the last script is a door."""

from kerasref.command_line import *  # noqa: F403
from kerasref.command_line import explain as _explain  # noqa: F401
