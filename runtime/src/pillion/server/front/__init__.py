"""Several front workers: processes that each hold the models and answer on the same ports, under one supervisor.

The supervisor binds the ports, starts the workers, watches them and answers the admin port for all of them. It imports
neither the transports nor what models need, so it stays small and has nothing to crash over.
"""
