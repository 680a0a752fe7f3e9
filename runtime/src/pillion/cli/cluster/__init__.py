"""A cluster as the command line sees it: through the user's own kubectl, with whatever it knows of logging in."""
