<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="paletted" band="1" alphaBand="-1" opacity="1">
      <colorPalette>
        <paletteEntry value="0" label="unchanged" color="#ffffff" alpha="0" />
        <paletteEntry value="255" label="changed" color="#d62728" alpha="255" />
      </colorPalette>
    </rasterrenderer>
  </pipe>
</qgis>
