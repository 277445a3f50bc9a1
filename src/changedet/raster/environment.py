"""The GDAL settings under which every raster is opened and read."""

import os
from typing import Any, Final

import rasterio
from rasterio.env import get_gdal_config

#: Decoded blocks that GDAL keeps, in bytes for the whole process (rasterio takes no megabytes).
#: Small and fixed: memory must not grow with the scene (GDAL's default is 5 % of the machine's).
CACHE_BYTES: Final = 64 * 2**20

# Three tries to connect, and a server that falls silent is given up: a wrong address fails within
# 15 seconds. A slow one may take its time, hence no limit on the whole request.
_OPTIONS: Final[dict[str, str]] = {
    "GDAL_HTTP_CONNECTTIMEOUT": "4",
    "GDAL_HTTP_LOW_SPEED_TIME": "10",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    # Range reads of a COG: the header in one request, neighbouring tiles in one request.
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    # One cache a file handle, and every thread has its own handles: /vsicurl/ has a common one.
    "VSI_CACHE": "FALSE",
}


def gdal_environment() -> rasterio.Env:
    """Make the context in which rasters are opened and read, for the thread that enters it.

    What the user has set in the environment (``GDAL_CACHEMAX=512``, say) goes before our values.
    The block cache is one for the whole process and its size falls back when the outermost
    context ends: a flow of many threads holds one such context around all of them.
    """
    options: dict[str, Any] = {k: v for k, v in _OPTIONS.items() if k not in os.environ}
    if "GDAL_CACHEMAX" not in os.environ and get_gdal_config("GDAL_CACHEMAX") != CACHE_BYTES:
        options["GDAL_CACHEMAX"] = CACHE_BYTES
    return rasterio.Env(**options)
