// Before a chat: who it is with, what is protected, the privacy notice, and an explicit yes. Who has chats already finds
// them here, above the new one.

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { shownOnce } from '../alerts';
import { plain } from '../display';
import { pick, spoken, t } from '../i18n';
import type { State } from '../state';
import type { Store } from '../store';
import type { Org } from '../worker/protocol';
import { Chats, topicName } from './chats';
import { Icon } from './icons';
import { AlertBox } from './problem';

function noticeFor(org: Org) {
  const chosen = pick(Object.fromEntries(org.notices.map((notice) => [notice.language, notice.hash])));
  return org.notices.find((notice) => notice.hash === chosen);
}

export function Consent({ store, state, org }: { store: Store; state: State; org: Org }) {
  const [topic, setTopic] = useState(org.topics[0]?.id ?? '');
  const title = useRef<HTMLHeadingElement>(null);
  const notice = noticeFor(org);
  const name = plain(org.name);
  const busy = state.busy !== null;
  const returning = state.conversations.length > 0;

  // Who comes back from a chat starts reading at the top; the button that led here is gone.
  useLayoutEffect(() => {
    if (returning) title.current?.focus();
  }, []);

  return (
    <main class="consent">
      <div class="consent-head">
        <div class="badge" aria-hidden="true"><Icon name="lock" /></div>
        <h1 ref={title} tabIndex={-1}>{t('consentTitle', { org: name })}</h1>
      </div>
      <p class="lead">{t('consentLead', { readers: t('readers') })}</p>

      {shownOnce(state.alerts).map((alert) => (
        <AlertBox key={alert.ids[0]} problem={alert.problem} onDismiss={() => store.dismiss(alert)} />
      ))}

      {returning && <Chats store={store} conversations={state.conversations} org={org} />}

      <form
        aria-labelledby={returning ? 'new-title' : undefined}
        onSubmit={(event) => {
          event.preventDefault();
          if (notice) store.open(topic, spoken(), notice.hash);
        }}
      >
        {returning && <h2 id="new-title">{t('startNew')}</h2>}
        <fieldset class="topics">
          <legend>{t('topic')}</legend>
          {org.topics.map((one) => (
            <label key={one.id} class="topic">
              <input type="radio" name="topic" value={one.id} checked={one.id === topic} onChange={() => setTopic(one.id)} />
              <span dir="auto">{topicName(one)}</span>
            </label>
          ))}
        </fieldset>

        {notice && (
          <section class="notice" aria-labelledby="notice-title">
            <h2 id="notice-title">{t('notice')}</h2>
            <div class="notice-text" lang={notice.language} dir="auto" tabIndex={0} role="group" aria-labelledby="notice-title">
              {notice.text}
            </div>
          </section>
        )}

        <details class="small">
          <summary>{t('protectedTitle')}</summary>
          <p>{t('protectedYes')}</p>
          <p>{t('protectedNo')}</p>
        </details>

        <p class="means" id="means">{t('agreeMeans', { org: name })}</p>
        <button type="submit" class="primary wide" aria-describedby="means" disabled={busy || !notice}>
          {busy ? t('agreeing') : t('agree')}
        </button>
      </form>
    </main>
  );
}
