"""Steps put together: one after another, beside each other, by a choice, over lists; in a program or as a model.

A composition is an object without a port. It says itself what it takes and gives, and is served as a model with one
task. What runs is on one event loop: ``async`` steps there, plain ones in threads, placed ones in worker processes.
"""
