// How values look: times, sizes, names. Everything from outside is shown as text, and names cannot reorder the line
// they stand in.

import { language, t } from './i18n';

/** Bidirectional controls, other invisible format characters and control characters. */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/** One line from outside: no controls, no direction tricks. */
export const plain = (text: string): string => text.replace(UNSEEN, ' ').replace(/\s+/g, ' ').trim();

const RESERVED = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

const length = (text: string): number => new TextEncoder().encode(text).length;

/** At most `most` bytes of UTF-8. What is left out is marked, and a file name keeps its extension. */
export function shorten(name: string, most: number): string {
  if (length(name) <= most) return name;
  const dot = name.lastIndexOf('.');
  const end = `…${dot > 0 ? [...name.slice(dot)].slice(0, 16).join('') : ''}`;
  const start = [...(dot > 0 ? name.slice(0, dot) : name)];
  let left = most - length(end);
  const kept = start.findIndex((character) => (left -= length(character)) < 0);
  return start.slice(0, kept < 0 ? undefined : kept).join('') + end;
}

/** A file name that no system reads as a path, a device or a hidden file, and that has room for a number behind it. */
export function safeName(name: string): string {
  let safe = plain(name)
    .replace(/[/\\:*?"<>|%]/g, '_')
    .replace(/^[.\s]+/, '')
    .replace(/[.\s]+$/, '');
  if (safe === '' || RESERVED.test(safe)) safe = `file_${safe}`;
  return shorten(safe, 200);
}

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte'] as const;

export function size(bytes: number): string {
  const step = Math.min(3, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return new Intl.NumberFormat(language(), {
    style: 'unit',
    unit: UNITS[step] ?? 'byte',
    unitDisplay: step === 0 ? 'long' : 'short',
    maximumFractionDigits: step < 2 ? 0 : 1,
  }).format(bytes / 1000 ** step);
}

export const count = (number: number): string => new Intl.NumberFormat(language()).format(number);

/** Whoever wrote a message chose its time: nothing stands where no Date can hold it. */
const timeAs = (time: number, options: Intl.DateTimeFormatOptions): string =>
  Number.isNaN(new Date(time).getTime()) ? '' : new Intl.DateTimeFormat(language(), options).format(time);

export const clock = (time: number): string => timeAs(time, { hour: 'numeric', minute: '2-digit' });

export const dateAndTime = (time: number): string => timeAs(time, { dateStyle: 'medium', timeStyle: 'short' });

export const dayOf = (time: number): string => new Date(time).toDateString();

export function dayName(time: number): string {
  const today = new Date();
  const yesterday = new Date(today);
  yesterday.setDate(today.getDate() - 1);
  if (dayOf(time) === today.toDateString()) return t('today');
  if (dayOf(time) === yesterday.toDateString()) return t('yesterday');
  const thisYear = new Date(time).getFullYear() === today.getFullYear();
  return timeAs(time, { weekday: 'long', day: 'numeric', month: 'long', ...(thisYear ? {} : { year: 'numeric' }) });
}

/** One or two first letters for the round picture. */
export function initials(name: string): string {
  const words = plain(name).split(' ').filter((word) => /^\p{L}/u.test(word));
  const first = [...(words[0] ?? '')][0] ?? '';
  const last = words.length > 1 ? [...(words[words.length - 1] ?? '')][0] ?? '' : '';
  return (first + last).toLocaleUpperCase(language());
}

export interface Piece {
  text: string;
  link: boolean;
}

const named = ({ username, password }: URL): boolean => username + password !== '';

/** Splits text at web addresses. Only plain ASCII http(s) addresses without a user's name become links, so that none looks like another. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[\w.~:/?#[\]@!$&'()*+,;=%-]+/g)) {
    const address = match[0].replace(/[.,;:!?'")\]]+$/, '');
    if (!URL.canParse(address) || named(new URL(address)) || /[\p{L}\p{N}\u200e\u200f\u202a-\u202e\u2066-\u2069]/u.test(text[match.index + address.length] ?? '')) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index), link: false });
    found.push({ text: address, link: true });
    end = match.index + address.length;
  }
  if (end < text.length) found.push({ text: text.slice(end), link: false });
  return found;
}
