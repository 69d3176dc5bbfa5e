// Who can read: now and earlier, the safety number, and what can be done with the chat.

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { initials, plain } from '../display';
import { t } from '../i18n';
import type { Key } from '../i18n';
import { scheme, chooseScheme } from '../scheme';
import type { Scheme } from '../scheme';
import { isOpen } from '../state';
import type { Store } from '../store';
import type { Conversation, Org, Reader } from '../worker/protocol';
import { Actions } from './actions';
import { agentName } from './chats';
import { Icon } from './icons';

interface Props {
  store: Store;
  conversation: Conversation;
  org: Org;
  /** Over the chat (narrow screens) instead of beside it. */
  over: boolean;
  onClose: () => void;
}

const myself: Reader = { role: 'customer', device: '', agent: null, name: null, newDevice: false, refused: false, gone: false, current: true, me: true };

export function Panel({ store, conversation, org, over, onClose }: Props) {
  const closer = useRef<HTMLButtonElement>(null);
  // At once: who types fast is elsewhere after the next paint.
  useLayoutEffect(() => {
    if (over) closer.current?.focus();
  }, [over]);
  // Whoever is cut off for good reads what was there before, and nothing more.
  const listed = conversation.readers.filter((reader) => reader.current && !reader.gone);
  // Before anybody is named there is no list yet, but whoever writes can read.
  const now = listed.some((reader) => reader.me) ? listed : [myself, ...listed];
  const before = conversation.readers.filter((reader) => !reader.current || reader.gone);
  const name = plain(agentName(conversation) ?? '');
  const ended = !isOpen(conversation);

  return (
    <div
      id="panel"
      tabIndex={-1}
      class={over ? 'panel over' : 'panel'}
      aria-label={t('readers')}
      {...(over ? { role: 'dialog', 'aria-modal': 'true' } : { role: 'complementary' })}
      onKeyDown={(event) => {
        if (event.key === 'Escape') onClose();
      }}
    >
      <div class="panel-head">
        <h2>{t('readers')}</h2>
        <button type="button" class="quiet-icon" ref={closer} aria-label={t('close')} onClick={onClose}>
          <Icon name="close" />
        </button>
      </div>

      <section aria-labelledby="readers-now">
        <h3 id="readers-now">{t('readersNow')}</h3>
        <ul class="readers">{now.map((reader) => <ReaderRow key={reader.device} reader={reader} ended={ended} />)}</ul>
        {name === '' && <p class="muted">{t('readersNobody', { org: plain(org.name) })}</p>}
      </section>

      {before.length > 0 && (
        <section aria-labelledby="readers-before">
          <h3 id="readers-before">{t('readersBefore')}</h3>
          <ul class="readers">{before.map((reader) => <ReaderRow key={reader.device} reader={reader} ended={ended} />)}</ul>
        </section>
      )}

      <section aria-labelledby="safety">
        <h3 id="safety">{t('safety')}</h3>
        {conversation.safetyNumber ? (
          <>
            <SafetyNumber digits={conversation.safetyNumber} />
            <p class="muted">{t('safetyHow', { name })}</p>
          </>
        ) : (
          <p class="muted">{t('safetyLater')}</p>
        )}
      </section>

      <Appearance />

      <section class="panel-actions">
        {/* Over the chat the panel would hide that it has ended, and offer to delete it in the same place. */}
        <Actions store={store} conversation={conversation} onEnded={over ? onClose : undefined} />
      </section>
    </div>
  );
}

function ReaderRow({ reader, ended }: { reader: Reader; ended: boolean }) {
  const name = plain(reader.name ?? '');
  const answers = reader.current && !reader.refused && !ended;
  return (
    <li class="reader">
      <div class={reader.me ? 'face small me' : 'face small'} aria-hidden="true">
        {reader.me ? <Icon name="device" /> : initials(name)}
      </div>
      <div>
        <p class="reader-name">
          {reader.me ? t('yourDevice') : <bdi>{name || t('someone')}</bdi>}
          {!reader.me && name && !reader.refused && <span class="tag"><Icon name="shield" />{t('verified')}</span>}
        </p>
        {!reader.me && (
          <p class="muted">
            {reader.agent && <bdi>@{reader.agent}</bdi>}
            {reader.agent && answers && ' · '}
            {answers && t(reader.role === 'supervisor' ? 'supervisorRole' : 'agentRole')}
          </p>
        )}
        {reader.newDevice && <p class="caution">{t('newDevice')}</p>}
        {reader.refused && <p class="caution">{t('readerRefused')}</p>}
      </div>
    </li>
  );
}

function SafetyNumber({ digits }: { digits: string }) {
  const groups = digits.replace(/\D/g, '').match(/.{1,5}/g) ?? [];
  return (
    <div class="safety" dir="ltr" translate={false}>
      {groups.map((group, index) => <span key={index}>{group} </span>)}
    </div>
  );
}

const schemes: [Scheme, Key][] = [['auto', 'auto'], ['light', 'light'], ['dark', 'dark']];

function Appearance() {
  const [chosen, choose] = useState(scheme());
  return (
    <fieldset class="appearance">
      <legend>{t('appearance')}</legend>
      <div class="segments">
        {schemes.map(([value, key]) => (
          <label key={value} class="segment">
            <input
              type="radio"
              name="scheme"
              checked={value === chosen}
              onChange={() => {
                chooseScheme(value);
                choose(value);
              }}
            />
            <span>{t(key)}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
