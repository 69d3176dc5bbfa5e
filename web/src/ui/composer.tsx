// Where one writes. Enter sends, Shift+Enter makes a line, Enter that ends an input method's composition does neither.

import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import type { Store } from '../store';
import type { Hex } from '../worker/protocol';
import { Icon } from './icons';

/** Longest text of one message, bytes of UTF-8 (protocol's MAX_TEXT). */
const MAX_TEXT = 40 * 1024;
const DRAFT_AFTER = 150;
const TYPING_EVERY = 4000;
const TYPING_ENDS = 5000;

export function Composer({ store, conversation }: { store: Store; conversation: Hex }) {
  const [text, setText] = useState(store.state.drafts[conversation] ?? '');
  const area = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const saving = useRef(0);
  const typing = useTyping(store, conversation);
  const tooLong = text.length > MAX_TEXT / 4 && new TextEncoder().encode(text).length > MAX_TEXT;

  const change = (next: string) => {
    setText(next);
    clearTimeout(saving.current);
    saving.current = window.setTimeout(() => store.draft(conversation, next), DRAFT_AFTER);
  };

  // The last words before the page, or this chat on it, goes away are kept as well.
  useEffect(() => {
    const element = area.current;
    const keep = () => {
      clearTimeout(saving.current);
      store.draft(conversation, element?.value ?? '');
    };
    addEventListener('pagehide', keep);
    return () => {
      removeEventListener('pagehide', keep);
      keep();
    };
  }, []);

  // The button that led here is gone; who writes with a keyboard goes on here.
  useEffect(() => {
    if (document.activeElement === document.body) area.current?.focus({ preventScroll: true });
  }, []);

  const send = () => {
    if (text.trim() === '' || tooLong) return;
    clearTimeout(saving.current);
    typing.stopped();
    store.send(text.trim());
    setText('');
    // At once, and not when it is drawn: whoever leaves in between would keep it as a draft.
    if (area.current) area.current.value = '';
    area.current?.focus();
  };

  const attach = (files: FileList | null | undefined) => {
    for (const file of files ?? []) store.sendFile(file);
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {tooLong && <p class="caution" role="alert">{t('tooLong')}</p>}
      <div class="field">
        <input
          type="file"
          multiple
          hidden
          ref={picker}
          onChange={(event) => {
            attach(event.currentTarget.files);
            event.currentTarget.value = '';
          }}
        />
        <button type="button" class="quiet-icon" aria-label={t('attach')} title={t('attach')} onClick={() => picker.current?.click()}>
          <Icon name="clip" />
        </button>
        <div class="lines" data-text={text}>
          <textarea
            ref={area}
            rows={1}
            // Empty, it has the page's direction: "auto" would put placeholder and caret of an Arabic page at the wrong end.
            dir={text === '' ? undefined : 'auto'}
            value={text}
            placeholder={t('write')}
            aria-label={t('write')}
            enterkeyhint="send"
            onInput={(event) => {
              change(event.currentTarget.value);
              typing.going();
            }}
            onKeyDown={(event) => {
              // Safari ends a composition before the key event: there, 229 says that the key belonged to it.
              if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
              event.preventDefault();
              send();
            }}
            onPaste={(event) => {
              const files = event.clipboardData?.files;
              if (!files?.length) return;
              event.preventDefault();
              attach(files);
            }}
          />
        </div>
        <button type="submit" class="send" aria-label={t('send')} title={t('send')} disabled={text.trim() === '' || tooLong}>
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}

/** Says "typing" at most every few seconds, and "stopped" after a pause. */
function useTyping(store: Store, conversation: Hex) {
  const told = useRef(0);
  const timer = useRef(0);
  const stopped = () => {
    clearTimeout(timer.current);
    if (told.current > 0) store.typing(conversation, false);
    told.current = 0;
  };
  const going = () => {
    const now = performance.now();
    if (told.current === 0 || now - told.current > TYPING_EVERY) {
      told.current = now;
      store.typing(conversation, true);
    }
    clearTimeout(timer.current);
    timer.current = window.setTimeout(stopped, TYPING_ENDS);
  };
  useEffect(() => stopped, []);
  return { going, stopped };
}
