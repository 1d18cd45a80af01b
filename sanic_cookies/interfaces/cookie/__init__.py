"""Sessions in their own encrypted cookie: the interface, its keys and its seals."""
