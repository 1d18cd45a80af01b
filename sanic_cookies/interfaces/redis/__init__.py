"""Sessions in Redis or Valkey: the interface, its one connection, its scripts."""
