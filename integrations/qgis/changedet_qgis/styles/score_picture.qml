<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="singlebandpseudocolor" band="1" alphaBand="-1" opacity="1" classificationMin="0" classificationMax="65535">
      <rastershader>
        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" minimumValue="0" maximumValue="65535" clip="0">
          <item value="0" label="0" color="#ffffb2" alpha="0" />
          <item value="16384" label="0.25" color="#fecc5c" alpha="96" />
          <item value="32768" label="0.5" color="#fd8d3c" alpha="192" />
          <item value="49151" label="0.75" color="#f03b20" alpha="255" />
          <item value="65535" label="1" color="#bd0026" alpha="255" />
        </colorrampshader>
      </rastershader>
    </rasterrenderer>
  </pipe>
</qgis>
