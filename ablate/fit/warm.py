"""Imported once by the server that runs are forked from: what they need, and what is the same for all of them.

The digest of the sources takes half a second, and must be that of what was imported: sources that are edited while
a sweep goes on are not those that its runs execute.
"""

from ablate.fit import conditions, run  # noqa: F401

conditions.code()
