// The transcript. Earlier pages load on demand; the view stays at the end while the end is in sight.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { dayName, dayOf } from '../display';
import { around, t } from '../i18n';
import { isOnline, isOpen } from '../state';
import type { Pending, State } from '../state';
import type { Store } from '../store';
import type { Conversation, Hex, Message, MessageState } from '../worker/protocol';
import { Boundary } from './boundary';
import { Bubble, PendingBubble, UploadBubble } from './bubble';
import { Icon } from './icons';
import { AlertBox } from './problem';

/** Messages of one side closer than this stand together, ms. */
const TOGETHER = 4 * 60_000;
/** The end counts as in sight within this many pixels. */
const NEAR_END = 80;

/** What edits and deletions made of a message; both append, neither rewrites. */
export type Changes = ReadonlyMap<string, { text: string | null }>;

const keyOf = (device: Hex, counter: number) => `${device}:${counter}`;

function changes(messages: readonly Message[]): Changes {
  const found = new Map<string, { text: string | null }>();
  for (const { device, body } of messages) {
    if (body.kind === 'edit') found.set(keyOf(device, body.target), { text: body.text });
    if (body.kind === 'delete') found.set(keyOf(device, body.target), { text: null });
  }
  return found;
}

/** Receipts count messages: what they confirm holds for every own message up to there. */
function state({ mine, counter, state }: Message, { delivered, read }: Conversation): MessageState {
  if (!mine || state === 'undelivered') return state;
  if (counter <= read) return 'read';
  return counter <= delivered ? 'delivered' : state;
}

const shown = ({ body }: Message) => !['edit', 'delete', 'hidden', 'reaction'].includes(body.kind);

const together = (a: Message | undefined, b: Message | undefined) =>
  a !== undefined && b !== undefined && a.device === b.device && Math.abs(b.time - a.time) < TOGETHER && dayOf(a.time) === dayOf(b.time);

/** `from`: where the focus goes back to. */
type OpenReaders = (from: HTMLElement) => void;

interface Props {
  store: Store;
  state: State;
  conversation: Conversation;
  name: string;
  typing: boolean;
  onReaders: OpenReaders;
}

export function Messages({ store, state: page, conversation, name, typing, onReaders }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  // Where the view rests: as it was placed here, or scrolled to.
  const rest = useRef(0);
  const before = useRef({ first: 0, height: 0 });
  const sizes = useRef<ResizeObserver | null>(null);
  const [below, setBelow] = useState(false);
  const messages = useMemo(() => page.messages.filter(shown), [page.messages]);
  const changed = useMemo(() => changes(page.messages), [page.messages]);
  const pending = page.pending.filter((one) => one.conversation === page.current);
  const { uploads } = conversation;
  const last = messages[messages.length - 1];
  // What was there when the chat was opened does not arrive.
  const opened = useRef<number | null>(null);
  opened.current ??= last?.place ?? null;
  const lastMine = [...messages].reverse().find((one) => one.mine);

  // Earlier messages appear above without moving what is read; new ones are followed when the end was in sight.
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const first = messages[0]?.place ?? 0;
    if (before.current.first > first && before.current.first > 0 && !atEnd.current) {
      element.scrollTop += element.scrollHeight - before.current.height;
    } else if (atEnd.current || pending.length > 0 || uploads.length > 0) {
      element.scrollTop = element.scrollHeight;
    } else if (last && !last.mine) {
      setBelow(true);
    }
    rest.current = element.scrollTop;
    before.current = { first, height: element.scrollHeight };
    // Rows get their real height only once they are drawn, later in this frame. That goes by unseen when what came is as
    // high as what went, unless the observer is told to look anew.
    const rows = element.firstElementChild;
    if (rows) {
      sizes.current?.unobserve(rows);
      sizes.current?.observe(rows);
    }
  }, [messages, pending.length, uploads.length, typing]);

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const follow = () => {
      if (atEnd.current) element.scrollTop = element.scrollHeight;
      rest.current = element.scrollTop;
    };
    const observer = new ResizeObserver(follow);
    observer.observe(element);
    if (element.firstElementChild) observer.observe(element.firstElementChild);
    sizes.current = observer;
    // A window that was another size for less than a frame cuts the top off, and nothing has another size afterwards.
    addEventListener('resize', follow);
    return () => {
      observer.disconnect();
      removeEventListener('resize', follow);
    };
  }, []);

  const tellRead = useReadMarks(store, conversation.id, messages, atEnd);

  const scrolled = () => {
    const element = box.current;
    if (!element) return;
    const { scrollTop: top, scrollHeight, clientHeight } = element;
    const left = scrollHeight - top - clientHeight;
    const near = left < NEAR_END;
    // A turned phone, another window and rows that get their real height leave the top where it rests, or cut it off at
    // the end. Above that somebody went: by wheel, finger, key, scroll bar, a search or a screen reader.
    if (top < rest.current && left > 1) atEnd.current = false;
    else if (near) atEnd.current = true;
    rest.current = top;
    if (near) setBelow(false);
    tellRead();
  };

  return (
    <div class="log-frame">
      <div class="log" role="log" aria-label={t('log')} tabIndex={0} ref={box} onScroll={scrolled}>
        <div class="log-inner">
          {page.more && (
            <button type="button" class="quiet older" onClick={() => store.earlier()}>{t('older')}</button>
          )}
          {!page.more && <Intro onReaders={onReaders} />}
          {page.unreadable && <AlertBox problem={page.unreadable} />}
          {messages.map((message, index) => {
            const previous = messages[index - 1];
            const following = messages[index + 1];
            const newDay = !previous || dayOf(previous.time) !== dayOf(message.time);
            return (
              <Row
                key={message.place}
                store={store}
                message={message}
                state={state(message, conversation)}
                change={changed.get(keyOf(message.device, message.counter))}
                file={message.body.kind === 'file' ? page.files[message.body.transfer] : undefined}
                transfer={message.body.kind === 'file' ? page.transfers[message.body.transfer] : undefined}
                day={newDay ? dayName(message.time) : ''}
                begins={!together(previous, message)}
                ends={!together(message, following)}
                spoken={message === lastMine}
                arrives={message === last && !message.mine && message.place > (opened.current ?? message.place)}
              />
            );
          })}
          {uploads.map((one) => (
            <UploadBubble
              key={`u${one.transfer}`}
              upload={one}
              file={page.files[one.transfer]}
              transfer={page.transfers[one.transfer]}
              waits={!isOnline(page, conversation)}
            />
          ))}
          {pending.map((one: Pending) => (
            <PendingBubble key={`p${one.id}`} store={store} pending={one} transfer={page.transfers[one.transfer]} ended={!isOpen(conversation)} />
          ))}
          {typing && (
            <div class="message theirs typing" role="status">
              <span class="vh">{t('typing', { name: name || t('someone') })}</span>
              <span class="bubble" aria-hidden="true"><i /><i /><i /></span>
            </div>
          )}
        </div>
      </div>
      {below && (
        <button
          type="button"
          class="below"
          onClick={() => {
            const element = box.current;
            if (element) element.scrollTop = element.scrollHeight;
          }}
        >
          <Icon name="down" />
          {t('newBelow')}
        </button>
      )}
    </div>
  );
}

type RowProps = Parameters<typeof Bubble>[0] & { day: string };

/** The same elements as long as nothing in them changed, so that a new message does not redraw the old ones. */
function Row({ day, ...bubble }: RowProps) {
  return useMemo(
    () => (
      <>
        {day && <div class="day"><span>{day}</span></div>}
        <Boundary instead={<p class="unshown">{t('unshownMessage')}</p>}>
          <Bubble {...bubble} />
        </Boundary>
      </>
    ),
    [day, ...Object.values(bubble)],
  );
}

/** Where the way to "who can read" is an icon alone, its name is met first here: it leads there as well. */
function Intro({ onReaders }: { onReaders: OpenReaders }) {
  const [before, after] = around('intro', 'readers');
  return (
    <div class="intro">
      <Icon name="lock" />
      <p>
        {before.slice(0, -1)}
        {/* A quotation mark is not left behind at the end of a line. */}
        <span class="quoted">
          {before.slice(-1)}
          <button type="button" class="inline" onClick={(event) => onReaders(event.currentTarget)}>{t('readers')}</button>
          {after.slice(0, 1)}
        </span>
        {after.slice(1)}
      </p>
    </div>
  );
}

/** Tells the peer what was read, when its last message is really in sight: as it comes, or once it is scrolled to. */
function useReadMarks(store: Store, conversation: Hex, messages: readonly Message[], atEnd: { current: boolean }): () => void {
  const told = useRef('');
  const tell = () => {
    const last = [...messages].reverse().find((one) => !one.mine);
    if (!last || !atEnd.current || document.visibilityState !== 'visible') return;
    const mark = keyOf(last.device, last.counter);
    if (told.current === mark) return;
    told.current = mark;
    store.read(conversation, last.counter);
  };
  useEffect(() => {
    tell();
    document.addEventListener('visibilitychange', tell);
    return () => document.removeEventListener('visibilitychange', tell);
  }, [messages]);
  return tell;
}
