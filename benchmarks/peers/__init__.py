"""The same small app over and over: bare, by hand, with us, and with each peer."""
