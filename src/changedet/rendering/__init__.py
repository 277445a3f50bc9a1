"""Images, plots, pages and QGIS styles: results as people look at them."""
