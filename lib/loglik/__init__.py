"""Twenty-eight papers of machine learning and statistics, reproduced.

Each paper has one address, ``<part>/<paper>``: its method is ``loglik.<part>.<paper>``, its chapter
stands in ``notebooks/<part>/<paper>/``. Importing :mod:`loglik` itself loads nothing heavy.
"""

__version__ = "0.1.0"
