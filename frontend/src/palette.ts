/** The colours of `changedet.palette`; a test compares them. */
export type Colour = [number, number, number];

export const OVERLAY_COLOUR: Colour = [255, 45, 85];
// On an image, yellow, light green, orange and blue can be told apart with any colour vision.
export const OUTLINE_COLOUR: Colour = [255, 221, 20];
export const OUTLINE_HALO_COLOUR: Colour = [16, 16, 20];
export const HIT_COLOUR: Colour = [168, 240, 190];
export const MISS_COLOUR: Colour = [64, 156, 255];
export const FALSE_ALARM_COLOUR: Colour = [255, 128, 20];
export const SCORE_RAMP: Colour[] = [
  [68, 1, 84],
  [72, 40, 120],
  [62, 74, 137],
  [49, 104, 142],
  [38, 130, 142],
  [31, 158, 137],
  [53, 183, 121],
  [109, 205, 89],
  [180, 222, 44],
  [253, 231, 37],
];

export function css([red, green, blue]: Colour): string {
  return `rgb(${red}, ${green}, ${blue})`;
}
