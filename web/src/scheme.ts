// Light, dark, or what the system says. Remembered in this browser; nothing else is kept outside the vault.

export type Scheme = 'auto' | 'light' | 'dark';

const KEY = 'sealdesk-scheme';

export function scheme(): Scheme {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === 'light' || kept === 'dark' ? kept : 'auto';
  } catch {
    return 'auto';
  }
}

export function showScheme(chosen: Scheme): void {
  document.documentElement.dataset['scheme'] = chosen;
}

/** What the system says needs no remembering. */
export function chooseScheme(chosen: Scheme): void {
  showScheme(chosen);
  try {
    if (chosen === 'auto') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
  } catch {
    // Storage is blocked: the choice lasts as long as the page.
  }
}
