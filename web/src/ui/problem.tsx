// An error in words: what is wrong, who has to act, what to do. Known codes speak the person's language; for others
// the core's own sentence stands.

import { find, t } from '../i18n';
import type { Key } from '../i18n';
import { cause, isNews, meaning } from '../meaning';
import type { Fault, Problem } from '../worker/protocol';
import { Icon } from './icons';

const faults: Record<Fault, Key> = {
  you: 'faultYou',
  peer: 'faultPeer',
  relay: 'faultRelay',
  organisation: 'faultOrganisation',
  network: 'faultNetwork',
};

/** The page's words, or else the core's, which are English. */
function Words({ part, own, problem, shown }: { part: 'p' | 'h'; own: string; problem: Problem; shown?: string }) {
  const said = find(`${part}_${meaning(problem)}`);
  if (said !== undefined || own === '') return <p class={shown}>{said ?? (part === 'p' ? t('wrong') : '')}</p>;
  return <p class={shown} lang="en" dir="ltr">{own}</p>;
}

export function ProblemText({ problem }: { problem: Problem }) {
  return (
    <div class="problem-text">
      <Words part="p" own={problem.text} problem={problem} shown="problem-what" />
      <Words part="h" own={problem.hint} problem={problem} />
      <p class="problem-fault">{t(faults[cause(problem)])} · <code>{problem.code}</code></p>
    </div>
  );
}

/** Without `onDismiss` it stands for good. */
export function AlertBox({ problem, onDismiss }: { problem: Problem; onDismiss?: () => void }) {
  const news = isNews(problem);
  return (
    <div class={news ? 'alert clear' : 'alert'} role={news ? 'status' : 'alert'}>
      <Icon name={news ? 'check' : 'warning'} />
      <ProblemText problem={problem} />
      {onDismiss && (
        <button type="button" class="quiet-icon" aria-label={t('dismiss')} onClick={onDismiss}>
          <Icon name="close" />
        </button>
      )}
    </div>
  );
}
