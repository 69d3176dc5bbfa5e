// The chat: header, state of the connection, transcript, composer, and the panel beside or over it.

import { useEffect, useRef, useState } from 'preact/hooks';
import { shownOnce } from '../alerts';
import { plain } from '../display';
import { t } from '../i18n';
import { isUnverified } from '../meaning';
import { isOpen, refusedReader } from '../state';
import type { State } from '../state';
import type { Store } from '../store';
import type { Conversation, Org } from '../worker/protocol';
import { Boundary } from './boundary';
import { agentName, unread } from './chats';
import { Composer } from './composer';
import { Header } from './header';
import { Icon } from './icons';
import type { IconName } from './icons';
import { Messages } from './messages';
import { Panel } from './panel';
import { AlertBox } from './problem';

/** From this width on the panel stands beside the chat. */
const WIDE = '(min-width: 1000px)';
/** Short interruptions are not worth a banner, ms. */
const PATIENCE = 1500;

interface Props {
  store: Store;
  state: State;
  org: Org;
  conversation: Conversation;
}

export function Chat({ store, state, org, conversation }: Props) {
  const wide = useWide();
  // Beside the chat it is open; it never lays itself over the chat because a window got narrower or a phone was turned,
  // not for one frame: what somebody chose holds for the layout in which it was chosen.
  const [chosen, setChosen] = useState<{ wide: boolean; panel: boolean } | null>(null);
  useEffect(() => setChosen(null), [wide]);
  const panel = chosen?.wide === wide ? chosen.panel : wide;
  const setPanel = (panel: boolean) => setChosen({ wide, panel });
  const [dragged, setDragged] = useState(false);
  const name = plain(agentName(conversation) ?? '');
  const ended = !isOpen(conversation);
  const over = panel && !wide;
  const opener = useRef<HTMLButtonElement>(null);
  /** Whence else the panel was opened. */
  const from = useRef<HTMLElement | null>(null);
  const lapsed = ended ? undefined : refusedReader(conversation);
  // What stands as a banner is not said twice.
  const alerts = shownOnce(
    state.alerts
      .filter((one) => one.conversation === null || one.conversation === conversation.id)
      .filter((one) => !(lapsed && one.conversation && isUnverified(one.problem))),
  );
  const alarm = state.alarms[conversation.id];

  /** Beside the chat it may be open already; then the focus says where it is. */
  const openPanel = (button: HTMLElement) => {
    from.current = button;
    setPanel(true);
    if (wide) requestAnimationFrame(() => document.getElementById('panel')?.focus());
  };

  /** The focus goes back to where the panel was opened, once that can be reached again. */
  const closePanel = () => {
    setPanel(false);
    const back = from.current?.isConnected ? from.current : opener.current;
    from.current = null;
    requestAnimationFrame(() => back?.focus());
  };

  return (
    <div class={panel && wide ? 'chat with-panel' : 'chat'}>
      <main
        class="talk"
        inert={over}
        onDragOver={(event) => {
          if (ended || !event.dataTransfer?.types.includes('Files')) return;
          event.preventDefault();
          setDragged(true);
        }}
        onDragLeave={(event) => {
          if (event.currentTarget === event.target) setDragged(false);
        }}
        onDrop={(event) => {
          setDragged(false);
          if (ended || !event.dataTransfer?.files.length) return;
          event.preventDefault();
          for (const file of event.dataTransfer.files) store.sendFile(file);
        }}
      >
        <Header
          conversation={conversation}
          org={org}
          elsewhere={unread(state.conversations.filter((one) => one.id !== conversation.id))}
          panel={panel}
          onChats={() => store.show(null)}
          opener={opener}
          onPanel={() => {
            from.current = null;
            setPanel(!panel);
          }}
        />
        {lapsed && (
          <Lapsed name={plain(lapsed.name ?? '') || t('someone')} org={plain(org.name)} gone={lapsed.gone} onNew={() => store.show(null)} />
        )}
        <Banner store={store} state={state} conversation={conversation} ended={ended} />
        <Boundary key={conversation.id} instead={<div class="log-frame"><p class="unshown" role="alert">{t('unshownMessages')}</p></div>}>
          <Messages store={store} state={state} conversation={conversation} name={name} typing={state.typing && !ended} onReaders={openPanel} />
        </Boundary>
        <div class="clear-notices" role="status">
          {'' in state.allClear && (
            <AllClear icon="lock" text={t('renewedKeys', { org: plain(org.name) })} onDismiss={() => store.dismissAllClear(null)} />
          )}
          {conversation.id in state.allClear && !lapsed && (
            <AllClear
              icon="shield"
              text={t('renewedPeer', { name: name || t('someone'), org: plain(org.name) })}
              onDismiss={() => store.dismissAllClear(conversation.id)}
            />
          )}
        </div>
        {(alarm || alerts.length > 0) && (
          <div class="notices" role="group" aria-label={t('wrong')} tabIndex={0}>
            {alarm && <AlertBox problem={alarm} />}
            {alerts.map((alert) => (
              <AlertBox key={alert.ids[0]} problem={alert.problem} onDismiss={() => store.dismiss(alert)} />
            ))}
          </div>
        )}
        {conversation.phase === 'queued' && state.links[conversation.id]?.state === 'online' && <p class="hint">{t('queued')}</p>}
        {conversation.reassignmentWaits && !ended && (
          <div class="hint ask" role="alert">
            <p>{t('reassign', { org: plain(org.name) })}</p>
            <button type="button" class="quiet" onClick={() => store.allowReassignment(conversation.id)}>{t('reassignYes')}</button>
          </div>
        )}
        {ended ? (
          <Ended unsent={state.drafts[conversation.id] ?? ''} onNew={() => store.show(null)} />
        ) : (
          <Composer key={conversation.id} store={store} conversation={conversation.id} />
        )}
        {dragged && <div class="drop"><Icon name="lock" /><p>{t('drop')}</p></div>}
      </main>
      {panel && (
        <Panel store={store} conversation={conversation} org={org} over={over} onClose={closePanel} />
      )}
    </div>
  );
}

/** Stands as long as whoever can read now is not verified: nobody can take it away, and nothing pushes it away. */
const Lapsed = ({ name, org, gone, onNew }: { name: string; org: string; gone: boolean; onNew: () => void }) => (
  <div class="alert lapsed" role="alert" tabIndex={0}>
    <Icon name="warning" />
    <div class="problem-text">
      <p class="problem-what">{t('lapsedWhat', { name, org })}</p>
      <p>{t(gone ? 'lapsedForGood' : 'lapsedHint', { org })}</p>
      {gone && <button type="button" class="quiet" onClick={onNew}>{t('startNew')}</button>}
    </div>
  </div>
);

/** A warning was shown and holds no longer. */
const AllClear = ({ icon, text, onDismiss }: { icon: IconName; text: string; onDismiss: () => void }) => (
  <div class="alert clear">
    <Icon name={icon} />
    <p class="problem-text">{text}</p>
    <button type="button" class="quiet-icon" aria-label={t('dismiss')} onClick={onDismiss}>
      <Icon name="close" />
    </button>
  </div>
);

function Ended({ unsent, onNew }: { unsent: string; onNew: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  // The field in which somebody wrote may just have gone.
  useEffect(() => {
    if (document.activeElement === document.body) button.current?.focus({ preventScroll: true });
  }, []);
  return (
    <div class="ended">
      <p>{t('closedHint')}</p>
      {unsent && <p class="unsent">{t('unsent')}<q dir="auto">{unsent}</q></p>}
      <button type="button" class="primary" ref={button} onClick={onNew}>{t('startNew')}</button>
    </div>
  );
}

/** The state of the connection, when there is something to say about it. */
function Banner({ store, state, conversation, ended }: { store: Store; state: State; conversation: Conversation; ended: boolean }) {
  const { state: link, problem } = state.links[conversation.id] ?? { state: 'connecting', problem: null };
  const away = !ended && (!state.network || link === 'offline' || link === 'connecting');
  const late = useLate(away);
  const retries = late && state.network;
  let text = '';
  if (link === 'replaced') text = t('replaced');
  else if (!state.network && away) text = t('offline');
  else if (retries) text = t(state.wasOnline ? 'reconnecting' : 'connecting');
  return (
    <div class="banners" role="status">
      {!state.kept && <p class="banner">{t('memoryOnly')}</p>}
      {problem && !ended && <AlertBox problem={problem} />}
      {text !== '' && (
        <p class="banner link" data-link={link}>
          {text}
          {link === 'replaced' && (
            <button type="button" class="quiet" onClick={() => store.takeOver()}>{t('useHere')}</button>
          )}
          {retries && <TryNow tries={link === 'connecting'} onClick={() => store.connectNow()} />}
        </p>
      )}
    </div>
  );
}

/** Greyed while a try is under way, which is all that can be seen of it. */
function TryNow({ tries, onClick }: { tries: boolean; onClick: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  // It goes once there is a connection; whose focus goes with it is then with the messages. The field would bring up the
  // keyboard of a phone.
  useEffect(() => {
    const element = button.current;
    const log = element?.closest('main')?.querySelector<HTMLElement>('.log');
    let focused = false;
    const follow = () => {
      focused = document.activeElement === element;
    };
    document.addEventListener('focusin', follow);
    return () => {
      document.removeEventListener('focusin', follow);
      if (focused && [element, document.body].includes(document.activeElement as HTMLButtonElement)) log?.focus({ preventScroll: true });
    };
  }, []);
  return (
    <button type="button" class="quiet" ref={button} aria-disabled={tries} onClick={onClick}>{t('tryNow')}</button>
  );
}

/** True when `value` has been true for a while. */
function useLate(value: boolean): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    if (!value) return undefined;
    const timer = setTimeout(() => setLate(true), PATIENCE);
    return () => clearTimeout(timer);
  }, [value]);
  return late && value;
}

function useWide(): boolean {
  const [wide, setWide] = useState(() => matchMedia(WIDE).matches);
  useEffect(() => {
    const query = matchMedia(WIDE);
    const change = () => setWide(query.matches);
    query.addEventListener('change', change);
    return () => query.removeEventListener('change', change);
  }, []);
  return wide;
}
