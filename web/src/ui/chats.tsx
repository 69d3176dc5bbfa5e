// The chats of this device: open ones first. What can be said of a conversation in one line.

import { count, dateAndTime, initials, plain } from '../display';
import { pick, t } from '../i18n';
import { inOrder, isOpen } from '../state';
import type { Store } from '../store';
import type { Conversation, Org } from '../worker/protocol';
import { Boundary } from './boundary';
import { Icon } from './icons';

/** The certified name of whoever answers, or answered last. */
export function agentName(conversation: Pick<Conversation, 'readers'>): string | undefined {
  return conversation.readers.find((reader) => reader.role === 'agent')?.name ?? undefined;
}

export const topicName = (topic: Org['topics'][number]) => plain(pick(topic.names) ?? topic.id);

/** Messages that nobody has looked at yet. */
export const unread = (conversations: readonly Conversation[]): number =>
  conversations.reduce((sum, one) => sum + one.unread, 0);

function about(conversation: Conversation, org: Org): string {
  const topic = org.topics.find((one) => one.id === conversation.topic);
  return topic ? topicName(topic) : plain(conversation.topic);
}

export function Chats({ store, conversations, org }: { store: Store; conversations: readonly Conversation[]; org: Org }) {
  return (
    <section class="chats" aria-labelledby="chats-title">
      <h2 id="chats-title">{t('chats')}</h2>
      <ul>
        {inOrder(conversations).map((one) => (
          <Boundary key={one.id} instead={<li><OpenUnshown store={store} conversation={one} /></li>}>
            <Row store={store} conversation={one} org={org} />
          </Boundary>
        ))}
      </ul>
    </section>
  );
}

/** The way to what can be done with a chat of which nothing can be said. */
const OpenUnshown = ({ store, conversation }: { store: Store; conversation: Conversation }) => (
  <button type="button" class="row" onClick={() => store.show(conversation.id)}>
    <span class="face small" aria-hidden="true"><Icon name="warning" /></span>
    <span class="row-name">{t('unshownChat')}</span>
  </button>
);

function Row({ store, conversation, org }: { store: Store; conversation: Conversation; org: Org }) {
  const name = plain(agentName(conversation) ?? '');
  const ended = !isOpen(conversation);
  return (
    <li>
      <button type="button" class={ended ? 'row ended-row' : 'row'} onClick={() => store.show(conversation.id)}>
        <span class="face small" aria-hidden="true">{name ? initials(name) : <Icon name="lock" />}</span>
        <span class="row-words">
          <span class="row-name"><bdi>{name || plain(org.name)}</bdi></span>
          <span class="muted">
            <bdi>{about(conversation, org)}</bdi> · {dateAndTime(conversation.updated)}
            {ended && <> · {t('ended')}</>}
          </span>
        </span>
        {conversation.unread > 0 && (
          <span class="unread">
            <span aria-hidden="true">{count(conversation.unread)}</span>
            <span class="vh">{t('unread', { n: count(conversation.unread) })}</span>
          </span>
        )}
      </button>
    </li>
  );
}
