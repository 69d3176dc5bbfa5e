// Screens without a chat: loading, refused, held by another tab, a chat that cannot be drawn.

import { t } from '../i18n';
import type { Store } from '../store';
import type { Conversation, Problem } from '../worker/protocol';
import { Actions } from './actions';
import { Icon } from './icons';
import { ProblemText } from './problem';

export const Loading = () => (
  <main class="screen">
    <div class="pulse" aria-hidden="true"><Icon name="lock" /></div>
    <p role="status">{t('loading')}</p>
  </main>
);

export const Refused = ({ problem }: { problem: Problem }) => (
  <main class="screen">
    <div class="badge bad" aria-hidden="true"><Icon name="warning" /></div>
    <h1>{t('notStarted')}</h1>
    <div role="alert" class="refusal">
      <ProblemText problem={problem} />
    </div>
    {problem.text !== '' && (
      <details class="small">
        <summary>{t('details')}</summary>
        <p lang="en" dir="ltr">{problem.text}</p>
      </details>
    )}
    <button type="button" class="primary" onClick={() => location.reload()}>{t('reload')}</button>
  </main>
);

export const Held = ({ onUse }: { onUse: () => void }) => (
  <main class="screen">
    <div class="badge" aria-hidden="true"><Icon name="lock" /></div>
    <h1>{t('heldTitle')}</h1>
    <p>{t('heldText')}</p>
    <button type="button" class="primary" onClick={onUse}>{t('useHere')}</button>
  </main>
);

/** What a chat is left with that cannot be drawn: the way to the others, to end it and to delete it. */
export const Unshown = ({ store, conversation }: { store: Store; conversation: Conversation }) => (
  <main class="screen">
    <div class="badge bad" aria-hidden="true"><Icon name="warning" /></div>
    <h1>{t('unshownChat')}</h1>
    <p role="alert">{t('unshownHint')}</p>
    <button type="button" class="primary" onClick={() => store.show(null)}>{t('chats')}</button>
    <button type="button" class="quiet" onClick={() => location.reload()}>{t('reload')}</button>
    <Actions store={store} conversation={conversation} />
  </main>
);
