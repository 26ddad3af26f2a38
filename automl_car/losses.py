from automl_car.ensemble.calibration import fit_temperature
from automl_car.ensemble.losses import log_loss

__all__=["fit_temperature","log_loss"]
