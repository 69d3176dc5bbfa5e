// The root: which screen is shown.

import { useEffect, useState } from 'preact/hooks';
import { count, plain } from '../display';
import { t } from '../i18n';
import type { Store } from '../store';
import type { Org } from '../worker/protocol';
import { Boundary } from './boundary';
import { Chat } from './chat';
import { unread } from './chats';
import { Consent } from './consent';
import { Held, Loading, Refused, Unshown } from './screens';

export function App({ store }: { store: Store }) {
  const [state, setState] = useState(store.state);
  useEffect(() => {
    setState(store.state);
    return store.watch(() => setState(store.state));
  }, [store]);
  useTitle(unread(state.conversations), state.org);

  return (
    <div class="frame">
      {state.demo && <aside class="demo">{t('demo')}</aside>}
      {screen()}
    </div>
  );

  function screen() {
    if (state.stage === 'refused' && state.refusal) return <Refused problem={state.refusal} />;
    if (state.stage === 'held') return <Held onUse={() => store.takeOver()} />;
    if (state.stage === 'loading' || !state.org) return <Loading />;
    const conversation = store.conversation;
    if (!conversation) return <Consent store={store} state={state} org={state.org} />;
    return (
      <Boundary key={conversation.id} instead={<Unshown store={store} conversation={conversation} />}>
        <Chat store={store} state={state} org={state.org} conversation={conversation} />
      </Boundary>
    );
  }
}

/** Who it is with, and unread messages, in the tab's title. */
function useTitle(messages: number, org: Org | null): void {
  useEffect(() => {
    const title = org ? t('consentTitle', { org: plain(org.name) }) : t('title');
    document.title = messages > 0 ? `(${count(messages)}) ${title}` : title;
  }, [messages, org]);
}
