// One message: text or file, time, and what became of it.

import { clock, dateAndTime, pieces, plain } from '../display';
import { t } from '../i18n';
import type { Key } from '../i18n';
import { claimsPicture } from '../raster';
import { isFinal } from '../meaning';
import type { Pending, Transfer } from '../state';
import type { Store } from '../store';
import type { Message, MessageState, Upload } from '../worker/protocol';
import { FileCard } from './file';
import { Icon } from './icons';
import type { IconName } from './icons';
import { ProblemText } from './problem';

const states: Record<Exclude<MessageState, 'received'>, [Key, IconName | null]> = {
  waiting: ['waiting', 'clock'],
  sent: ['sent', 'check'],
  delivered: ['delivered', 'checks'],
  read: ['read', 'checks'],
  undelivered: ['undelivered', 'warning'],
  receivedAfterClose: ['late', null],
};

interface Props {
  store: Store;
  message: Message;
  state: MessageState;
  change: { text: string | null } | undefined;
  file: Blob | undefined;
  transfer: Transfer | undefined;
  begins: boolean;
  ends: boolean;
  /** The state stands there in words (last own message), not as icon alone. */
  spoken: boolean;
  /** Just came from the other side. */
  arrives: boolean;
}

export function Bubble({ store, message, state, change, file, transfer, begins, ends, spoken, arrives }: Props) {
  const { mine, body } = message;
  const side = mine ? 'mine' : 'theirs';
  return (
    <div class={`message ${side}${begins ? ' begins' : ''}${ends ? ' ends' : ''}${arrives ? ' arrives' : ''}`} data-state={state}>
      <p class="vh"><bdi>{mine ? t('you') : plain(message.author ?? t('someone'))}</bdi>:</p>
      <div class="bubble">
        <Content store={store} message={message} change={change} file={file} transfer={transfer} />
        <p class="meta" title={dateAndTime(message.time) || undefined}>
          {change?.text && body.kind === 'text' && <span>{t('edited')} · </span>}
          <Time time={message.time} />
          {state !== 'received' && <StateMark state={state} />}
        </p>
      </div>
      {message.weakStart && <p class="below-bubble">{t('weak')}</p>}
      {(spoken || state === 'undelivered' || state === 'receivedAfterClose') && state !== 'received' && (
        <p class="below-bubble" aria-hidden={spoken && state !== 'undelivered'}>{t(states[state][0])}</p>
      )}
    </div>
  );
}

function Content({ store, message, change, file, transfer }: Pick<Props, 'store' | 'message' | 'change' | 'file' | 'transfer'>) {
  const { body } = message;
  if (change && change.text === null) return <p class="text gone">{t('deleted')}</p>;
  switch (body.kind) {
    case 'text':
      return <Text text={change?.text ?? body.text} />;
    case 'file':
      return (
        <FileCard
          body={body}
          blob={file}
          transfer={transfer}
          fetch={() => store.fetchFile(message, body.transfer)}
          onSaved={() => {
            // A picture is shown for as long as the page lives.
            if (!claimsPicture(body.mediaType, body.length)) store.saved(body.transfer);
          }}
        />
      );
    case 'rating':
      return <Text text={`${'★'.repeat(body.stars)} ${body.text}`} />;
    default:
      return <p class="text gone">{t('unknown')}</p>;
  }
}

const Text = ({ text }: { text: string }) => (
  <div class="text" dir="auto">
    {pieces(text).map((piece, index) =>
      piece.link ? (
        <a key={index} dir="ltr" href={piece.text} target="_blank" rel="noopener noreferrer nofollow">{piece.text}</a>
      ) : (
        piece.text
      ),
    )}
  </div>
);

function StateMark({ state }: { state: Exclude<MessageState, 'received'> }) {
  const [key, icon] = states[state];
  return (
    <span class={`state ${state}`}>
      {icon && <Icon name={icon} />}
      <span class="vh">{t(key)}</span>
    </span>
  );
}

interface PendingProps {
  store: Store;
  pending: Pending;
  transfer: Transfer | undefined;
  /** The chat has ended: nothing can be sent any more. */
  ended: boolean;
}

export function PendingBubble({ store, pending, transfer, ended }: PendingProps) {
  const { file, problem, text, time } = pending;
  const final = problem !== null && isFinal(problem);
  return (
    <div class="message mine begins ends" data-state={problem ? 'failed' : 'saving'}>
      <p class="vh">{t('you')}:</p>
      <div class="bubble">
        {file ? (
          <FileCard
            body={{ kind: 'file', transfer: pending.transfer, name: file.name, mediaType: file.type, length: file.size }}
            blob={file}
            transfer={problem ? undefined : transfer}
            fetch={final ? undefined : () => Promise.resolve(file)}
          />
        ) : (
          <Text text={text} />
        )}
        <p class="meta">
          <Time time={time} />
          <span class="state">
            <Icon name={problem ? 'warning' : 'clock'} />
            <span class="vh">{t(problem ? 'failed' : 'saving')}</span>
          </span>
        </p>
      </div>
      {problem && (
        <div class="failed" role="alert">
          <ProblemText problem={problem} />
          {!ended && !final && (
            <button type="button" class="quiet" onClick={() => store.retry(pending)}>{t('retry')}</button>
          )}
          <button type="button" class="quiet" onClick={() => store.discard(pending)}>{t('discard')}</button>
        </div>
      )}
    </div>
  );
}

/** A file of ours that the relay does not have yet: safe here, on its way. */
export function UploadBubble({ upload, file, transfer, waits }: { upload: Upload; file: Blob | undefined; transfer: Transfer | undefined; waits: boolean }) {
  return (
    <div class="message mine begins ends" data-state="waiting">
      <p class="vh">{t('you')}:</p>
      <div class="bubble">
        <FileCard body={upload} blob={file} transfer={transfer} waits={waits} fetch={file && (() => Promise.resolve(file))} />
        <p class="meta">
          <Time time={upload.time} />
          <StateMark state="waiting" />
        </p>
      </div>
    </div>
  );
}

/** None that no Date can hold. */
function Time({ time }: { time: number }) {
  const shown = clock(time);
  return shown ? <time dateTime={new Date(time).toISOString()}>{shown}</time> : null;
}
