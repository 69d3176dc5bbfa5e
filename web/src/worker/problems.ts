// What goes wrong in the worker itself; the page has words for the codes (i18n).

import type { Problem } from './protocol';

const problem = (code: string, text: string): Problem => ({ code, fault: 'you', text, hint: '' });

export const unwritten = problem('vault_write', 'The browser could not store the chat.');

/** A command that another tab's take-over left without an answer. */
export const handedOver = problem('handed_over', 'Another tab took the chat over before this was stored.');

/** An attachment that is being fetched is asked for once more. */
export const underWay = problem('transfer_busy', 'This file is on its way already.');

/** An attachment was checked, but not kept. */
export const unopened = problem('local_file', 'The opened file could not be read.');

/** The vault is there, and the browser does not read it. */
export const unread = (error: unknown): Problem => problem('vault_unopened', `The browser did not open the chat: ${String(error)}`);

/** A record of the transcript. */
export const damaged = (text: string): Problem => problem('message_damaged', text);
