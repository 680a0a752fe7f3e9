"""The same model by a faster library: opt-in, compared when it is loaded, and used only where equal and faster."""
