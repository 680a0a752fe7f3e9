"""Graphs of steps as data: what one may say, what is wrong with it, what it looks like. Nothing here runs one."""
