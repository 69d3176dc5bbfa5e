// The top of a chat: who answers, how that is known, and the way to "who can read".

import type { RefObject } from 'preact';
import { count, initials, plain } from '../display';
import { t } from '../i18n';
import { isOpen, refusedReader } from '../state';
import type { Conversation, Org } from '../worker/protocol';
import { agentName } from './chats';
import { Icon } from './icons';

function status(conversation: Conversation, org: string): string {
  if (conversation.closing) return t('ending');
  switch (conversation.phase) {
    case 'queued':
      return t('nobodyYet', { org });
    case 'assigned':
      return t('assigned', { org });
    case 'active':
      return t('active', { org });
    case 'closed':
      return t('closed');
    case 'lost':
      return t('lost');
  }
}

interface Props {
  conversation: Conversation;
  org: Org;
  /** Unread messages in other chats. */
  elsewhere: number;
  panel: boolean;
  /** The button that opens the panel. */
  opener: RefObject<HTMLButtonElement | null>;
  onChats: () => void;
  onPanel: () => void;
}

export function Header({ conversation, org, elsewhere, panel, opener, onChats, onPanel }: Props) {
  const name = plain(agentName(conversation) ?? '');
  const orgName = plain(org.name);
  const lapsed = isOpen(conversation) && !conversation.closing && refusedReader(conversation) !== undefined;
  const verified = !lapsed && !conversation.closing && name !== '' && (conversation.phase === 'active' || conversation.phase === 'assigned');
  const chats = elsewhere > 0 ? `${t('chats')}: ${t('unread', { n: count(elsewhere) })}` : t('chats');
  return (
    <header class="head">
      <button type="button" class="quiet-icon back" aria-label={chats} title={chats} onClick={onChats}>
        <Icon name="back" />
        {elsewhere > 0 && <span class="dot" aria-hidden="true" />}
      </button>
      <div class={name ? 'face' : 'face empty'} aria-hidden="true">{name ? initials(name) : <Icon name="lock" />}</div>
      <div class="who">
        <h1 title={name || orgName}><bdi>{name || orgName}</bdi></h1>
        <p class={lapsed ? 'status lapsed' : 'status'} role="status">
          {verified && <Icon name="shield" />}
          {lapsed && <Icon name="warning" />}
          <span>{lapsed ? t('lapsed') : status(conversation, orgName)}</span>
        </p>
      </div>
      <button type="button" class="pill" aria-expanded={panel} aria-controls="panel" ref={opener} onClick={onPanel}>
        <Icon name="people" />
        <span>{t('readers')}</span>
      </button>
    </header>
  );
}
