"""What arrays of pixels are called."""

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]  # uint8 (height, width, 3)
