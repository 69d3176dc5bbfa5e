// An error in words: what is wrong, who has to act, what to do. Known codes speak the person's language; for others
// the core's own sentence stands.

import { find, t } from '../i18n';
import type { Key } from '../i18n';
import type { Fault, Problem } from '../worker/protocol';
import { Icon } from './icons';

const faults: Record<Fault, Key> = {
  you: 'faultYou',
  peer: 'faultPeer',
  relay: 'faultRelay',
  organisation: 'faultOrganisation',
  network: 'faultNetwork',
};

/** Codes that mean the same to the person on this side. */
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

const said = (part: 'p' | 'h', { code }: Problem) => find(`${part}_${likewise[code] ?? code}`);
const what = (problem: Problem): string => said('p', problem) ?? (problem.text || t('wrong'));
const hint = (problem: Problem): string => said('h', problem) ?? problem.hint;

export function ProblemText({ problem }: { problem: Problem }) {
  return (
    <div class="problem-text">
      <p class="problem-what" dir="auto">{what(problem)}</p>
      <p dir="auto">{hint(problem)}</p>
      <p class="problem-fault">{t(faults[problem.fault])} · <code>{problem.code}</code></p>
    </div>
  );
}

/** Without `onDismiss` it stands for good. */
export function AlertBox({ problem, onDismiss }: { problem: Problem; onDismiss?: () => void }) {
  return (
    <div class="alert" role="alert">
      <Icon name="warning" />
      <ProblemText problem={problem} />
      {onDismiss && (
        <button type="button" class="quiet-icon" aria-label={t('dismiss')} onClick={onDismiss}>
          <Icon name="close" />
        </button>
      )}
    </div>
  );
}
