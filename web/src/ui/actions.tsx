// What can be done with a chat as a whole: end it, and then delete it from this device. Each asks once more.

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { isOpen } from '../state';
import type { Store } from '../store';
import type { Conversation } from '../worker/protocol';

interface Props {
  store: Store;
  conversation: Conversation;
  onEnded?: (() => void) | undefined;
}

export function Actions({ store, conversation, onEnded }: Props) {
  if (!isOpen(conversation)) {
    return <Confirmed key="forget" label={t('forget')} question={t('forgetSure')} yes={t('forgetYes')} onYes={() => store.forget(conversation.id)} />;
  }
  if (conversation.closing) return <button key="ending" type="button" class="quiet danger" disabled>{t('ending')}</button>;
  const end = () => {
    store.close(conversation.id);
    onEnded?.();
  };
  return <Confirmed key="end" label={t('endChat')} question={t('endSure')} yes={t('endYes')} onYes={end} />;
}

/** A button that asks once more before it acts. The focus follows the question and comes back when it is taken back. */
function Confirmed(props: { label: string; question: string; yes: string; onYes: () => void }) {
  const [asked, ask] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const settled = useRef(true);
  useLayoutEffect(() => {
    if (!settled.current) button.current?.focus();
    settled.current = false;
  }, [asked]);
  if (!asked) {
    return <button key="ask" type="button" class="quiet danger" ref={button} onClick={() => ask(true)}>{props.label}</button>;
  }
  return (
    <div
      class="confirm"
      role="group"
      aria-label={props.question}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        ask(false);
      }}
    >
      <p>{props.question}</p>
      <button
        type="button"
        class="primary danger"
        onClick={() => {
          ask(false);
          props.onYes();
        }}
      >
        {props.yes}
      </button>
      <button key="cancel" type="button" class="quiet" ref={button} onClick={() => ask(false)}>{t('cancel')}</button>
    </div>
  );
}
