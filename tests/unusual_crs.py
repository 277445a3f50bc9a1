"""Coordinate reference systems that not every file can hold, or that are not of this Earth."""

import pyproj

MARS = (
    'PROJCS["Mars eqc",GEOGCS["Mars 2000",DATUM["D_Mars_2000",SPHEROID["Mars_2000",3396190,0]],'
    'PRIMEM["Reference_Meridian",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Equirectangular"],PARAMETER["standard_parallel_1",0],'
    'PARAMETER["central_meridian",180],UNIT["metre",1]]'
)
SITE = 'LOCAL_CS["Site",LOCAL_DATUM["site datum",32767],UNIT["metre",1],AXIS["X",EAST]]'
UNKNOWN = (
    'PROJCS["x",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Unheard_Of"],'
    'UNIT["metre",1]]'
)
ROTATED_POLE = pyproj.CRS(
    "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 "
    "+to_meter=0.0174532925199433 +datum=WGS84 +type=crs"
).to_wkt()
WITH_HEIGHTS = pyproj.CRS("EPSG:32650").to_3d().to_wkt()
DATUM_PARAMETERS = (
    'PROJCS["DHDN / 3-degree Gauss-Kruger zone 3",GEOGCS["DHDN",DATUM["Deutsches_Hauptdreiecksnetz'
    '",SPHEROID["Bessel 1841",6377397.155,299.1528128],TOWGS84[100,200,300,0,0,0,0],'
    'AUTHORITY["EPSG","6314"]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],'
    'AUTHORITY["EPSG","4314"]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],'
    'PARAMETER["scale_factor",1],PARAMETER["false_easting",3500000],PARAMETER["false_northing",0],'
    'UNIT["metre",1],AUTHORITY["EPSG","31467"]]'
)
FROM_PARIS = pyproj.CRS("+proj=utm +zone=31 +ellps=clrk80 +pm=paris +type=crs").to_wkt()
NEEDS_A_GRID_FILE = pyproj.CRS(
    "+proj=utm +zone=10 +ellps=clrk66 +nadgrids=no_such_grid.gsb +type=crs"
).to_wkt()
