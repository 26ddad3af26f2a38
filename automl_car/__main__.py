"""`python -m automl_car` is the command `automl-car`."""

from automl_car.cli import main

if __name__ == "__main__":
    main()
