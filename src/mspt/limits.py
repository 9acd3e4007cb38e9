"""How large a photo may be; operators may allow less, nobody more."""

MAX_BYTES = 128 * 2**20  # of one encoded image
MAX_PIXELS = 128_000_000  # of one image: a 108-megapixel phone photo passes
