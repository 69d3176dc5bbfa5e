// Time: the company's web server says what time it is, since a device's clock may be wrong or be set while the page is
// open.
//
//   - From one answer of the server to the next, time runs by the monotonic clock.
//   - A device that slept has a monotonic clock that stood still, and one whose date was set has another date: both are
//     seen by comparing the two clocks, and the server is asked again.
//   - Time does not go back behind a stored bound, so that an expired certificate stays expired. Only the server raises
//     the bound, and by one answer at most a day: one wrong answer does not spoil the vault.

/** A Date header counts whole seconds, and the answer takes time to arrive: smaller differences mean nothing, ms. */
const TOLERANCE = 5000;
/** By how much one answer may raise the bound, ms. */
const STEP = 24 * 60 * 60_000;

/** ms since the worker began */
export const mono = (): number => performance.now();

/** What the wall clock and the device said at one moment of the monotonic clock. */
let known = { wall: Date.now(), device: Date.now(), mono: mono() };
let bound = 0;

export function setFromHeader(date: string | null): void {
  const device = Date.now();
  const server = date === null ? NaN : Date.parse(date);
  // A server that does not say leaves the device's clock.
  known = { wall: Math.abs(server - device) > TOLERANCE ? server : device, device, mono: mono() };
  if (Number.isNaN(server)) return;
  // The first bound of a vault is one that both clocks agree has passed.
  bound = Math.max(bound, Math.min(server, bound === 0 ? device : bound + STEP));
}

/** What a vault had stored as its bound. */
export function neverBefore(time: number): void {
  // Without a bound of its own, what the first answer said is all that there is.
  bound = time === 0 ? bound : Math.max(time, Math.min(bound, time + STEP));
}

/** To be stored: no later opening of the vault is before this. */
export const earliest = (): number => bound;

/** ms since the Unix epoch */
export const wall = (): number => Math.max(bound, known.wall + mono() - known.mono);

/** Whether the two clocks of this device went differently since the server last answered. */
export const uncertain = (): boolean => Math.abs(Date.now() - known.device - (mono() - known.mono)) > TOLERANCE;
