// The person's language: chosen from navigator.languages, English when nothing fits. Other languages load on demand.

import { en } from './en';
import type { Key, Texts } from './en';

export type { Key };

const others: Record<string, () => Promise<{ texts: Texts }>> = {
  ar: () => import('./ar'),
  de: () => import('./de'),
  zh: () => import('./zh'),
};

const rightToLeft = new Set(['ar', 'fa', 'he', 'ur']);

let texts: Texts = en;
/** BCP 47 tag of the person's language, as far as there are texts for it. */
let tag = 'en';
/** Names of another direction stand apart in the sentence: one that begins with a Latin name still runs from right to left. */
let isolate = (value: string): string => value;
/** BCP 47 tag of the texts, for dates, numbers and the `lang` attribute. */
let written = 'en';

const primary = (language: string) => language.toLowerCase().split('-')[0] ?? '';

/** The Chinese texts are simplified, also for who reads traditional characters. */
function writtenAs(language: string): string {
  return primary(language) === 'zh' && new Intl.Locale(language).maximize().script !== 'Hans' ? 'zh-Hans' : language;
}

export async function chooseLanguage(languages: readonly string[]): Promise<void> {
  for (const language of languages) {
    const name = primary(language);
    const load = others[name];
    if (name !== 'en' && !load) continue;
    try {
      texts = load ? (await load()).texts : en;
      tag = language;
      written = writtenAs(language);
    } catch {
      // The part did not load: English stays.
    }
    break;
  }
  const root = document.documentElement;
  root.lang = written;
  root.dir = rightToLeft.has(primary(tag)) ? 'rtl' : 'ltr';
  if (root.dir === 'rtl') isolate = (value) => `\u2068${value}\u2069`;
  document.title = texts.title;
}

export const language = () => written;

/** What the person reads best, also where the page does not speak it: whoever answers may. */
export const spoken = () => navigator.languages[0] ?? tag;

export function t(key: Key, values?: Record<string, string>): string {
  const text = texts[key];
  return values ? text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? isolate(values[name] ?? '') : whole)) : text;
}

/** What stands before and after `{place}`, for a text with more than words in that place. */
export function around(key: Key, place: string): [string, string] {
  const [before = '', after = ''] = texts[key].split(`{${place}}`);
  return [before, after];
}

/** The text of a key that is made at run time, if there is one. */
export const find = (key: string): string | undefined => (texts as Record<string, string>)[key];

/** The entry for the person's language, else for its primary language, else English, else any. */
export function pick(byLanguage: Record<string, string>): string | undefined {
  const entries = Object.entries(byLanguage);
  const exact = entries.find(([key]) => key.toLowerCase() === tag.toLowerCase());
  const near = entries.find(([key]) => primary(key) === primary(tag));
  const english = entries.find(([key]) => primary(key) === 'en');
  return (exact ?? near ?? english ?? entries[0])?.[1];
}
