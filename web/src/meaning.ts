// What problems come to for the person on this side, by code: several codes of the core mean the same to them.

import type { Fault, Problem } from './worker/protocol';

const likewise: Record<string, string> = {
  certificate_foreign: 'unverified',
  certificate_expired: 'unverified',
  certificate_not_yet_valid: 'unverified',
  certificate_revoked: 'unverified',
  certificate_role: 'unverified',
  certificate_refused: 'unverified',
  wrong_team: 'unverified',
  prekey_refused: 'unverified',
  handshake_refused: 'unverified',
  fork: 'alarm',
  equivocation: 'alarm',
  bad_receipt: 'alarm',
  statement_refused: 'alarm',
  mailbox_bytes: 'mailbox_full',
  file_changed: 'local_file',
};

export const meaning = ({ code }: { code: string }): string => likewise[code] ?? code;

/** The relay cannot know whose fault a missing consent is, and names the device; the page always sends one. */
export const cause = ({ code, fault }: Problem): Fault => (code === 'consent_missing' ? 'relay' : fault);

/** Worth knowing, and nothing is wrong or to be done. */
export const isNews = ({ code }: Problem): boolean => code === 'relay_restored';

/** The two sides do not see the same: no other notice, no button and no reload takes such a problem out of sight. */
export const isAlarm = (problem: Problem): boolean => meaning(problem) === 'alarm';

/** What is to be sent would be refused again, however often it is tried. */
export const isFinal = ({ code }: Problem): boolean => code === 'blob_too_large' || code === 'file_empty';

/** An org.json beside the page was not taken over; this ends with one that is. */
export const isOfRefusedOrganisation = ({ code }: Problem): boolean => code === 'wrong_root' || code.startsWith('org_');

/** The other device is not known to be the one that it is said to be. */
export const isUnverified = (problem: Problem): boolean => meaning(problem) === 'unverified';
