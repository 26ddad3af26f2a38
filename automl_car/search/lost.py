"""What errors of torch tell about the machine and not about the recipe: no memory, a lost GPU, a killed loader."""

from __future__ import annotations

from automl_car.errors import AutomlCarError, DeviceLostError, KilledError, OutOfMemoryError
from automl_car.records import Recipe
from automl_car.system_errors import lacks_memory

# Of messages of torch, in lower case. CUDA's own texts come through it unchanged.
_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc")
_LOADERS = ("dataloader worker (pid", "pin memory thread")  # "... 12) is killed by signal: Bus error"
_DEVICE = (
    "cuda error",
    "cuda-capable device",
    "cudnn error",
    "cublas error",
    "no cuda gpus",
    "mps backend",
    "hip error",
)


def as_lost(error: BaseException, recipe: Recipe) -> AutomlCarError | None:
    """What went wrong with the machine; None where nothing says that it was the machine.

    After an error of CUDA the process cannot compute any more, whatever was its cause.
    """
    words = str(error).partition("\n")[0]
    text = words.lower() if isinstance(error, RuntimeError) else ""  # torch.AcceleratorError is one, too
    if lacks_memory(error) or any(sign in text for sign in _MEMORY):
        return OutOfMemoryError(
            f"The memory of this machine does not suffice for `{recipe.backbone}` at {recipe.image_size} px, "
            f"batch {recipe.batch_size}: {words or type(error).__name__}"
        )
    if any(sign in text for sign in _LOADERS):
        return KilledError("A process that loads photos was killed.", hint=words)
    if any(sign in text for sign in _DEVICE):
        return DeviceLostError(f"The GPU failed: {words}.")
    return None
