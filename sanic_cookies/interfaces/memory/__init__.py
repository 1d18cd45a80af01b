"""Sessions in this process's memory: the interface, and the shelves that it keeps them on."""
