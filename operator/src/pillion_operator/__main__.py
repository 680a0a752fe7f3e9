"""`python -m pillion_operator`."""

from pillion_operator.main import main

if __name__ == "__main__":
    main()
