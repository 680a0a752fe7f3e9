"""`python -m pillion_operator.activator`."""

from pillion_operator.activator.main import main

if __name__ == "__main__":
    main()
