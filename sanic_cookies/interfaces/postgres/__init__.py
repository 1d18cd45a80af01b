"""Sessions in Postgres: the interface, its joined statements, its SQL."""
