// Before a chat: who it is with, what is protected, the privacy notice, and an explicit yes.

import { useState } from 'preact/hooks';
import { dateAndTime, plain } from '../display';
import { pick, t } from '../i18n';
import type { Store, State } from '../store';
import type { Org } from '../worker/protocol';
import { Icon } from './icons';
import { AlertBox } from './problem';

function noticeFor(org: Org) {
  const chosen = pick(Object.fromEntries(org.notices.map((notice) => [notice.language, notice.hash])));
  return org.notices.find((notice) => notice.hash === chosen);
}

const topicName = (topic: Org['topics'][number]) => plain(pick(topic.names) ?? topic.id);

export function Consent({ store, state, org }: { store: Store; state: State; org: Org }) {
  const [topic, setTopic] = useState(org.topics[0]?.id ?? '');
  const notice = noticeFor(org);
  const name = plain(org.name);
  const busy = state.busy !== null;
  const earlier = [...state.conversations].sort((a, b) => b.opened - a.opened);

  return (
    <main class="consent">
      <div class="badge" aria-hidden="true"><Icon name="lock" /></div>
      <h1>{t('consentTitle', { org: name })}</h1>
      <p class="lead">{t('consentLead')}</p>

      {state.alerts.map((alert) => (
        <AlertBox key={alert.id} problem={alert.problem} onDismiss={() => store.dismiss(alert.id)} />
      ))}

      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (notice) store.open(topic, notice.language, notice.hash);
        }}
      >
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

      {earlier.length > 0 && (
        <section class="earlier" aria-labelledby="earlier-title">
          <h2 id="earlier-title">{t('earlier')}</h2>
          <ul>
            {earlier.map((one) => (
              <li key={one.id}>
                <button type="button" class="row" onClick={() => store.show(one.id)}>
                  <bdi>{plain(agentName(one) ?? name)}</bdi>
                  <span class="muted">{dateAndTime(one.opened)}</span>
                </button>
              </li>
            ))}
          </ul>
        </section>
      )}
    </main>
  );
}

/** The certified name of whoever answers, or answered last. */
export function agentName(conversation: { readers: { role: string; name: string | null }[] }): string | undefined {
  return conversation.readers.find((reader) => reader.role === 'agent')?.name ?? undefined;
}
