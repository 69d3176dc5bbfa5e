// Pictures are shown only when their own bytes say that they are of a raster type; what the sender or the browser
// calls them does not count. SVG and HTML are never among them.

const STARTS: [string, number[], number][] = [
  ['image/png', [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], 0],
  ['image/jpeg', [0xff, 0xd8, 0xff], 0],
  ['image/gif', [0x47, 0x49, 0x46, 0x38], 0],
  ['image/webp', [0x57, 0x45, 0x42, 0x50], 8],
];

/** Largest picture that is decoded for display, bytes. */
const MAX_PICTURE = 20 * 1024 * 1024;

/** Whether a sender's media type is worth offering a preview. */
export const claimsPicture = (mediaType: string, length: number): boolean =>
  length <= MAX_PICTURE && /^image\/(png|jpe?g|gif|webp)$/i.test(mediaType);

/** The picture with the type that its bytes have; none when they are of no raster type. */
export async function picture(file: Blob): Promise<Blob | null> {
  if (file.size > MAX_PICTURE) return null;
  const head = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const found = STARTS.find(([, bytes, at]) => bytes.every((byte, index) => head[at + index] === byte));
  if (!found || (found[0] === 'image/webp' && head[0] !== 0x52)) return null;
  return new Blob([file], { type: found[0] });
}
