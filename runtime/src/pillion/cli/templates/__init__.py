"""The projects that ``pillion new`` makes: one folder a template, each file with ``${name}`` where the name goes."""
