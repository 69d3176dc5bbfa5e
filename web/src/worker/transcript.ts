// One page of the transcript. A record that does not open is told, and hides no other.

import { asProblem, page, pageNames, rowsOf } from './core';
import type { Core } from './core';
import { damaged, unread } from './problems';
import type { Hex, Message, Problem } from './protocol';
import type { Vault } from './vault';

/** Messages of one page. */
const PAGE = 60;

export interface Page {
  messages: Message[];
  more: boolean;
  problem: Problem | null;
}

/** `core` answers nothing once another tab has taken over; neither does this then. */
export async function readPage(core: () => Core | null, vault: Vault, conversation: Hex, before: number): Promise<Page | null> {
  const first = core();
  if (!first) return null;
  const names = pageNames(first, conversation, before, PAGE);
  const messages: Message[] = [];
  let problem: Problem | null = null;
  try {
    const records = await vault.rows(names);
    const now = core();
    if (!now) return null;
    for (const record of records) {
      try {
        messages.unshift(...page(now, rowsOf([record])));
      } catch (error) {
        const why = asProblem(error);
        problem = why.code === 'vault_newer' ? why : damaged(why.text);
      }
    }
  } catch (error) {
    problem = unread(error);
  }
  return { messages, more: names.length === PAGE, problem };
}
