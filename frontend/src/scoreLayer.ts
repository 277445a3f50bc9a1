/** Draws scores and the changed pixels at any threshold, pixel by pixel, on the graphics card. */
import type { CustomLayerInterface, Map as MapLibreMap } from "maplibre-gl";
import { TILE_PX, type Box, type Grid } from "./grid.ts";
import { OVERLAY_COLOUR, SCORE_RAMP } from "./palette.ts";
import type { ScoreTiles } from "./scores.ts";

export interface ScoreLook {
  lowestCode: number;
  steps: number;
  showScore: boolean;
  showMask: boolean;
  /** Of the scores and of the changed pixels, 0 to 1. */
  opacity: number;
}

const VERTEX = `#version 300 es
uniform vec4 u_rect; // left, top, right, bottom in clip space
uniform vec4 u_part; // the same in the texture
out vec2 v_place;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  v_place = mix(u_part.xy, u_part.zw, corner);
  gl_Position = vec4(mix(u_rect.xy, u_rect.zw, corner), 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D u_scores;
uniform vec3 u_ramp[${SCORE_RAMP.length}];
uniform float u_lowest, u_steps, u_opacity;
uniform bool u_show_score, u_show_mask;
in vec2 v_place;
out vec4 colour;
void main() {
  vec4 stored = texture(u_scores, v_place);
  float code = floor(stored.r * 255.0 + 0.5) * 256.0 + floor(stored.g * 255.0 + 0.5);
  vec4 drawn = vec4(0.0);
  if (stored.a > 0.0 && u_show_score) {
    float score = clamp(code / u_steps, 0.0, 1.0);
    float place = score * ${(SCORE_RAMP.length - 1).toFixed(1)};
    int low = int(min(place, ${(SCORE_RAMP.length - 2).toFixed(1)}));
    // Low scores fade out, so that the image stays visible where nothing happened.
    drawn = vec4(mix(u_ramp[low], u_ramp[low + 1], place - float(low)), 0.2 + 0.8 * sqrt(score));
  } else if (stored.a > 0.0 && u_show_mask && code >= u_lowest) {
    drawn = vec4(vec3(${OVERLAY_COLOUR.map((part) => (part / 255).toFixed(4)).join(", ")}), 0.8);
  }
  float alpha = drawn.a * u_opacity;
  colour = vec4(drawn.rgb * alpha, alpha);
}`;

const KEPT_TEXTURES = 200;

export class ScoreLayer implements CustomLayerInterface {
  readonly id = "score";
  readonly type = "custom" as const;
  readonly renderingMode = "2d" as const;
  private map: MapLibreMap | null = null;
  private program: WebGLProgram | null = null;
  private readonly uniforms = new Map<string, WebGLUniformLocation | null>();
  private vertices: WebGLVertexArrayObject | null = null;
  private readonly textures = new Map<string, WebGLTexture>();

  constructor(
    private readonly grid: Grid,
    private readonly tiles: ScoreTiles,
    readonly look: ScoreLook,
  ) {}

  onAdd(map: MapLibreMap, context: WebGLRenderingContext | WebGL2RenderingContext): void {
    const gl = context as WebGL2RenderingContext;
    this.map = map;
    this.textures.clear();
    this.program = link(gl);
    for (const name of ["u_rect", "u_part", "u_ramp", "u_lowest", "u_steps", "u_opacity", "u_show_score", "u_show_mask"]) {
      this.uniforms.set(name, gl.getUniformLocation(this.program, name));
    }
    this.vertices = gl.createVertexArray();
  }

  onRemove(): void {
    this.map = null;
  }

  render(context: WebGLRenderingContext | WebGL2RenderingContext): void {
    const gl = context as WebGL2RenderingContext;
    const { look, map } = this;
    if (!map || !this.program || !(look.showScore || look.showMask)) return;
    gl.useProgram(this.program);
    gl.bindVertexArray(this.vertices);
    gl.activeTexture(gl.TEXTURE0);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.STENCIL_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.uniform3fv(this.uniforms.get("u_ramp")!, SCORE_RAMP.flat().map((part) => part / 255));
    gl.uniform1f(this.uniforms.get("u_lowest")!, look.lowestCode);
    gl.uniform1f(this.uniforms.get("u_steps")!, look.steps);
    gl.uniform1f(this.uniforms.get("u_opacity")!, look.opacity);
    gl.uniform1i(this.uniforms.get("u_show_score")!, look.showScore ? 1 : 0);
    gl.uniform1i(this.uniforms.get("u_show_mask")!, look.showMask ? 1 : 0);
    const view = visible(map, this.grid);
    const zoom = Math.min(Math.max(Math.round(map.getZoom() + 1 - 2), 0), this.grid.maxZoom);
    const range = this.grid.tilesOf(view.box, zoom);
    for (let y = range.y0; y <= range.y1; y++) {
      for (let x = range.x0; x <= range.x1; x++) this.drawTile(gl, view, { zoom, x, y });
    }
    gl.bindVertexArray(null);
  }

  /** Draw a tile, or the part of a coarser one that is there while it loads. */
  private drawTile(gl: WebGL2RenderingContext, view: View, place: { zoom: number; x: number; y: number }): void {
    const { zoom, x, y } = place;
    if (!this.tiles.get(zoom, x, y)) void this.tiles.load(zoom, x, y);
    for (let up = 0; up <= zoom; up++) {
      const key: [number, number, number] = [zoom - up, x >> up, y >> up];
      const tile = this.tiles.get(...key);
      if (!tile) continue;
      if (tile === "empty") return;
      const parts = 2 ** up;
      const u = (x % parts) / parts;
      const v = (y % parts) / parts;
      const span = TILE_PX * 2 ** (this.grid.maxZoom - zoom);
      const left = ((x * span - view.centre[0]) * view.scale * 2) / view.width;
      const top = (-(y * span - view.centre[1]) * view.scale * 2) / view.height;
      const wide = (span * view.scale * 2) / view.width;
      const high = (span * view.scale * 2) / view.height;
      gl.bindTexture(gl.TEXTURE_2D, this.texture(gl, key.join("/"), tile));
      gl.uniform4f(this.uniforms.get("u_rect")!, left, top, left + wide, top - high);
      gl.uniform4f(this.uniforms.get("u_part")!, u, v, u + 1 / parts, v + 1 / parts);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
      return;
    }
  }

  private texture(gl: WebGL2RenderingContext, key: string, tile: ImageData): WebGLTexture {
    const there = this.textures.get(key);
    if (there) return there;
    if (this.textures.size >= KEPT_TEXTURES) {
      const [oldest, texture] = this.textures.entries().next().value!;
      gl.deleteTexture(texture);
      this.textures.delete(oldest);
    }
    const texture = gl.createTexture()!;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, tile);
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.NEAREST],
      [gl.TEXTURE_MAG_FILTER, gl.NEAREST],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ] as const) {
      gl.texParameteri(gl.TEXTURE_2D, name, value);
    }
    this.textures.set(key, texture);
    return texture;
  }
}

interface View {
  centre: [number, number];
  /** CSS pixels per pixel of the result. */
  scale: number;
  width: number;
  height: number;
  box: Box;
}

/** What of the image a map shows. Maps are neither turned nor tilted. */
export function visible(map: MapLibreMap, grid: Grid): View {
  const { lng, lat } = map.getCenter();
  const centre = grid.toPixel(lng, lat);
  const scale = 2 ** (map.getZoom() - grid.nativeMapZoom);
  const { clientWidth: width, clientHeight: height } = map.getContainer();
  const [halfX, halfY] = [width / scale / 2, height / scale / 2];
  const box: Box = [centre[0] - halfX, centre[1] - halfY, centre[0] + halfX, centre[1] + halfY];
  return { centre, scale, width, height, box };
}

function link(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram()!;
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error(`the score layer cannot be drawn: ${gl.getProgramInfoLog(program)}`);
  }
  return program;
}
