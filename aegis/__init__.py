"""The application shell: settings, errors, scope, database, services, command line."""

__version__ = "0.1.0"
