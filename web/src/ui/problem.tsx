// An error in words: what is wrong, who has to act, what to do. Known codes speak the person's language; for others
// the core's own sentence stands.

import { find, t } from '../i18n';
import type { Key } from '../i18n';
import { cause, meaning } from '../meaning';
import type { Fault, Problem } from '../worker/protocol';
import { Icon } from './icons';

const faults: Record<Fault, Key> = {
  you: 'faultYou',
  peer: 'faultPeer',
  relay: 'faultRelay',
  organisation: 'faultOrganisation',
  network: 'faultNetwork',
};

const said = (part: 'p' | 'h', problem: Problem) => find(`${part}_${meaning(problem)}`);
const what = (problem: Problem): string => said('p', problem) ?? (problem.text || t('wrong'));
const hint = (problem: Problem): string => said('h', problem) ?? problem.hint;

export function ProblemText({ problem }: { problem: Problem }) {
  return (
    <div class="problem-text">
      <p class="problem-what" dir="auto">{what(problem)}</p>
      <p dir="auto">{hint(problem)}</p>
      <p class="problem-fault">{t(faults[cause(problem)])} · <code>{problem.code}</code></p>
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
