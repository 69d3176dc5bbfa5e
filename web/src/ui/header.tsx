// The top of a chat: who answers, how that is known, and the way to "who can read".

import { initials, plain } from '../display';
import { t } from '../i18n';
import type { Conversation, Org } from '../worker/protocol';
import { agentName } from './consent';
import { Icon } from './icons';

function status(conversation: Conversation, name: string, org: string): string {
  switch (conversation.phase) {
    case 'queued':
      return t('nobodyYet', { org });
    case 'assigned':
      return t('assigned', { name });
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
  panel: boolean;
  onPanel: () => void;
}

export function Header({ conversation, org, panel, onPanel }: Props) {
  const name = plain(agentName(conversation) ?? '');
  const orgName = plain(org.name);
  const verified = name !== '' && (conversation.phase === 'active' || conversation.phase === 'assigned');
  return (
    <header class="head">
      <div class={name ? 'face' : 'face empty'} aria-hidden="true">{name ? initials(name) : <Icon name="lock" />}</div>
      <div class="who">
        <h1><bdi>{name || orgName}</bdi></h1>
        <p class="status">
          {verified && <Icon name="shield" />}
          <span dir="auto">{status(conversation, name, orgName)}</span>
        </p>
      </div>
      <button type="button" class="pill" aria-expanded={panel} aria-controls="panel" onClick={onPanel}>
        <Icon name="shield" />
        <span>{t('readers')}</span>
      </button>
    </header>
  );
}
