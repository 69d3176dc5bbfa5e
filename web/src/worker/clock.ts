// Time: the company's web server says what time it is, since a device's clock may be wrong; it never goes back behind
// what was seen before.

/** A Date header counts whole seconds, and the answer takes time to arrive: smaller differences mean nothing, ms. */
const TOLERANCE = 5000;

let offset = 0;
let floor = 0;

export function setFromHeader(date: string | null): void {
  const server = date === null ? NaN : Date.parse(date);
  if (Number.isNaN(server)) return;
  const difference = server - Date.now();
  offset = Math.abs(difference) > TOLERANCE ? difference : 0;
}

export function neverBefore(time: number): void {
  floor = Math.max(floor, time);
}

/** ms since the Unix epoch */
export function wall(): number {
  floor = Math.max(floor, Date.now() + offset);
  return floor;
}

/** ms since the worker began */
export const mono = (): number => performance.now();
