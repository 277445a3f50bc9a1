/** Figures as people read them, and the interval of a share. */

const whole = new Intl.NumberFormat("en");
const oneDigit = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export function count(value: number): string {
  return whole.format(Math.round(value));
}

export function area(squareMetres: number): string {
  if (squareMetres >= 1e6) return `${(squareMetres / 1e6).toLocaleString("en", { maximumFractionDigits: 2 })} km²`;
  return squareMetres >= 100 ? `${count(squareMetres)} m²` : `${oneDigit.format(squareMetres)} m²`;
}

export function size(pixels: number, squareMetres: number | null): string {
  return squareMetres === null ? `${count(pixels)} px` : area(squareMetres);
}

export function percent(share: number): string {
  const digits = share > 0 && share < 0.1 ? 2 : 1;
  return `${(share * 100).toLocaleString("en", { maximumFractionDigits: digits })} %`;
}

/** 95 % interval of a share, after Wilson (1927). */
export function wilson(hits: number, all: number): [number, number] {
  const z = 1.959963984540054;
  const middle = (hits + z ** 2 / 2) / (all + z ** 2);
  const half = (z / (all + z ** 2)) * Math.sqrt((hits * (all - hits)) / all + z ** 2 / 4);
  return [Math.max(middle - half, 0), Math.min(middle + half, 1)];
}

/** The longest round length (1, 2 or 5 times a power of ten) that fits. */
export function roundLength(longest: number): number {
  const power = 10 ** Math.floor(Math.log10(longest));
  return ([5, 2, 1].find((factor) => factor * power <= longest) ?? 1) * power;
}

export function length(metres: number): string {
  return metres >= 1000 ? `${whole.format(metres / 1000)} km` : `${oneDigit.format(metres)} m`;
}

export function degrees([longitude, latitude]: [number, number]): string {
  const part = (value: number, positive: string, negative: string) =>
    `${Math.abs(value).toFixed(5)}° ${value < 0 ? negative : positive}`;
  return `${part(latitude, "N", "S")}, ${part(longitude, "E", "W")}`;
}
