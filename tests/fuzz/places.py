"""Vector files, regions, rasters and images."""

import json
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutation import damage_bytes, damage_text, damage_tree, dump_tree
from fuzz.source import Source

UTM, DEGREES = "EPSG:32633", "EPSG:4326"


class VectorFiles(Source):
    """GeoJSON, GeoPackage and shapefiles as areas of interest and as labels."""

    name = "vectors"

    def prepare(self, folder: Path) -> None:
        import numpy as np
        import pyogrio.raw
        import shapely

        from changedet.vector import regions, vector_file

        self._regions, self._files = regions, vector_file
        folder.mkdir(parents=True)
        hole = shapely.Polygon(
            shapely.box(15, 45, 16, 46).exterior, [[(15.2, 45.2), (15.4, 45.2), (15.4, 45.6)]]
        )
        shapes = [
            hole,
            shapely.box(15.5, 45.5, 17, 47),
            shapely.MultiPolygon([shapely.box(0, 1, 2, 3)]),
        ]
        for ending in ("gpkg", "shp"):
            pyogrio.raw.write(
                folder / f"a.{ending}",
                np.array(shapely.to_wkb(shapes[:2]), dtype=object),
                [np.arange(2)],
                ["number"],
                crs=DEGREES,
                geometry_type="Polygon",
            )
        self._geojson = {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "id": 3,
                    "properties": {"a": 1, "b": "x"},
                    "geometry": json.loads(shapely.to_geojson(one)),
                }
                for one in (*shapes, shapely.GeometryCollection([hole, shapely.Point(1, 2)]))
            ],
        }
        self._valid = [sorted(folder.glob("*.gpkg")), sorted(folder.glob("a.[sdp]*"))]

    def write(self, random: Random, folder: Path) -> Any:
        options = random.choice((DEGREES, UTM, None)), random.choice(("region", "labels"))
        if random.random() < 0.6:
            path = folder / "a.geojson"
            tree = self._structured(random) if random.random() < 0.5 else self._geojson
            text = dump_tree(damage_tree(random, tree))
            content = (
                damage_bytes(random, text.encode()) if random.random() < 0.3 else text.encode()
            )
            path.write_bytes(content)
            return path, *options
        files = random.choice(self._valid)
        victim = random.choice(files)
        for file in files:
            content = file.read_bytes()
            (folder / file.name).write_bytes(
                damage_bytes(random, content) if file == victim else content
            )
        return folder / next(f.name for f in files if f.suffix in (".gpkg", ".shp")), *options

    def _structured(self, random: Random) -> Any:
        """Polygons of random points: they cross themselves, and their holes lie anywhere."""

        def ring() -> list[list[float]]:
            scale = random.choice((1e-9, 1.0, 1.0, 100.0, 1e6))
            count = random.choice((1, 3, 5, 30, 300))
            points = [
                [15 + scale * random.random(), 45 + scale * random.random()] for _ in range(count)
            ]
            return [*points, points[0]] if random.random() < 0.8 else points

        rings = [
            [ring() for _ in range(random.choice((1, 1, 2, 6)))]
            for _ in range(random.choice((1, 2, 8)))
        ]
        return {
            "type": "Feature",
            "properties": {},
            "geometry": {"type": "MultiPolygon", "coordinates": rings},
        }

    def read(self, source: Any) -> None:
        path, crs, use = source
        quiet = lambda message: None  # noqa: E731
        if use == "region":
            region = self._regions.read_region(str(path), crs=crs, tell=quiet)
            assert region.is_valid
            assert not region.is_empty
            return
        bounds = (15.0, 45.0, 16.0, 46.0) if crs == DEGREES else (5e5, 4.9e6, 6e5, 5.2e6)
        found = self._regions.read_label_polygons(path, crs=crs, bounds=bounds)
        assert all(polygon.is_valid for polygon in found)
        self._files.polygon_place(path, crs=crs)


class RegionTexts(Source):
    """``--aoi`` and ``--aoi-crs``."""

    name = "regions"
    _PARTS = (
        "1",
        "2.5",
        "-3",
        "1e9",
        "nan",
        "inf",
        "1e999",
        "",
        " ",
        "x",
        "0x1",
        "1_000",
        "\uff19",
        "\x00",
        "9" * 400,
    )
    _SYSTEMS = (
        "EPSG:4326",
        "EPSG:32633",
        "EPSG:1",
        "",
        "EPSG:",
        "+proj=longlat +R=1737400",
        "\x00",
        "{}",
        "[1]",
        "a" * 5000,
        'LOCAL_CS["a"]',
        "+proj=utm +zone=99",
        "OGC:CRS84",
        "urn:ogc:def:crs:EPSG::4326",
        "IAU_2015:30100",
        "🛰",
    )

    def prepare(self, folder: Path) -> None:
        from changedet.vector import regions

        self._regions = regions

    def write(self, random: Random, folder: Path) -> Any:
        count = random.choice((4, 4, 4, 4, 3, 5, 1))
        numbers = [
            random.choice((*self._PARTS, str(random.uniform(-200, 200)))) for _ in range(count)
        ]
        if random.random() < 0.4:
            # In order, as a box has to be.
            west, south = random.uniform(-180, 180), random.uniform(-90, 90)
            numbers = [f"{west:g}", f"{south:g}", f"{west + random.random():g}", f"{south + 1:g}"]
        text = random.choice((",", ",", ", ", ";")).join(numbers)
        return text, random.choice((None, *self._SYSTEMS)), random.choice((UTM, DEGREES, None))

    def read(self, source: Any) -> None:
        text, text_crs, crs = source
        self._regions.read_region(text, crs=crs, text_crs=text_crs)


class Images(Source):
    """Images and masks."""

    name = "images"

    def prepare(self, folder: Path) -> None:
        import numpy as np
        from PIL import Image

        from changedet.data import images
        from changedet.data.labels import masks

        self._images, self._masks = images, masks
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        grey = rng.integers(0, 255, (24, 20), dtype=np.uint8)
        colour = Image.fromarray(rng.integers(0, 255, (24, 20, 3), dtype=np.uint8))
        for ending in ("png", "jpg", "tif", "bmp", "webp", "gif"):
            colour.save(folder / f"colour.{ending}")
            Image.fromarray(grey).save(folder / f"grey.{ending}")
            Image.fromarray(grey).quantize(7).convert("P").save(
                folder / f"palette.{ending}"
            ) if ending in ("png", "gif", "bmp", "tif") else None
        Image.fromarray(grey > 100).save(folder / "bit.png")
        Image.fromarray(grey.astype(np.uint16) * 200).save(folder / "wide.png")
        Image.fromarray(grey.astype(np.uint16) * 200).save(folder / "wide.tif")
        Image.fromarray(grey > 100).save(folder / "fax.tif", compression="group4")
        colour.save(folder / "lzw.tif", compression="tiff_lzw")
        colour.save(folder / "deflate.tif", compression="tiff_adobe_deflate")
        colour.save(folder / "jpeg.tif", compression="jpeg")
        colour.save(folder / "moving.gif", save_all=True, append_images=[colour])
        colour.save(folder / "moving.png", save_all=True, append_images=[colour])
        colour.save(folder / "progressive.jpg", progressive=True)
        self._valid = [(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir())]

    def write(self, random: Random, folder: Path) -> Any:
        suffix, content = random.choice(self._valid)
        path = folder / f"a{suffix}"
        path.write_bytes(damage_bytes(random, content))
        return path, random.choice((1, 3, 3, 4)), random.choice(("image", "mask"))

    def read(self, source: Any) -> None:
        path, channels, use = source
        if use == "mask":
            self._masks.inspect_mask(path)
            return
        self._images.image_size(path)
        pixels = self._images.read_image(path, channels=channels)
        assert pixels.shape[2] == channels


class Rasters(Source):
    """GeoTIFFs, VRTs and world files, as pairs that are read in part."""

    name = "rasters"

    def prepare(self, folder: Path) -> None:
        import numpy as np
        import rasterio
        from affine import Affine

        from changedet.raster import pair
        from changedet.raster.geo_grid import Window

        self._pair, self._window = pair, Window
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        pixels = rng.integers(1, 255, (3, 48, 40), dtype=np.uint8)
        profile = {
            "height": 48,
            "width": 40,
            "count": 3,
            "dtype": "uint8",
            "crs": UTM,
            "transform": Affine(2, 0, 5e5, 0, -2, 5e6),
        }
        extras = (
            {},
            {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
            {"nodata": 0, "compress": "lzw", "interleave": "pixel"},
            {"crs": None},
        )
        for number, extra in enumerate(extras):
            with rasterio.open(
                folder / f"{number}.tif", "w", driver="GTiff", **{**profile, **extra}
            ) as file:
                file.write(pixels)
                if number == 2:
                    file.build_overviews([2])
        self._good = str(folder / "0.tif")
        self._valid = [path.read_bytes() for path in sorted(folder.glob("?.tif"))]
        self._vrt = (
            f'<VRTDataset rasterXSize="40" rasterYSize="48">\n<SRS>{UTM}</SRS>\n'
            "<GeoTransform>500000, 2, 0, 5000000, 0, -2</GeoTransform>\n"
            + "".join(
                f'<VRTRasterBand dataType="Byte" band="{band}">\n<NoDataValue>0</NoDataValue>\n'
                f'<SimpleSource>\n<SourceFilename relativeToVRT="0">{self._good}</SourceFilename>\n'
                f"<SourceBand>{band}</SourceBand>\n"
                '<SrcRect xOff="0" yOff="0" xSize="40" ySize="48" />\n'
                '<DstRect xOff="0" yOff="0" xSize="40" ySize="48" />\n'
                "</SimpleSource>\n</VRTRasterBand>\n"
                for band in (1, 2, 3)
            )
            + "</VRTDataset>"
        )

    def write(self, random: Random, folder: Path) -> Any:
        if random.random() < 0.4:
            path = folder / "a.vrt"
            text = self._vrt
            for _ in range(random.choice((1, 1, 2, 3))):
                number = random.choice(
                    (
                        "0",
                        "-1",
                        "nan",
                        "1e308",
                        "inf",
                        "2147483647",
                        "99999999999",
                        "65536",
                        "",
                        "x",
                        "1e-320",
                        "self.vrt",
                    )
                )
                old = random.choice(
                    (
                        '"40"',
                        '"48"',
                        "500000",
                        " 2,",
                        " -2<",
                        "Byte",
                        UTM,
                        ">0<",
                        '"1"',
                        self._good,
                        " 0,",
                    )
                )
                new = (
                    old[0] + number + old[-1]
                    if old[0] in '">'
                    else number + ("," if old.endswith(",") else "<" if old.endswith("<") else "")
                )
                text = text.replace(old, new, random.choice((1, 99)))
            content = text.encode()
            path.write_bytes(damage_bytes(random, content) if random.random() < 0.3 else content)
        else:
            path = folder / "a.tif"
            path.write_bytes(damage_bytes(random, random.choice(self._valid)))
        if random.random() < 0.1:
            (folder / "a.tfw").write_bytes(damage_text(random, "2\n0\n0\n-2\n500001\n4999999\n"))
        places = (str(path), self._good)
        return places if random.random() < 0.5 else places[::-1]

    def read(self, source: Any) -> None:
        with self._pair.RasterPair(
            *source, self._pair.PairOptions(stretch="auto", bands=(1, 2, 3))
        ) as pair:
            height, width = pair.grid.shape
            window = self._window(0, 0, min(height, 64), min(width, 64))
            pair.read(window)
