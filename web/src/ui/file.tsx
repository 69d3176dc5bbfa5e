// An attachment: name, size, progress, save. Pictures are shown only from bytes that are a raster picture; nothing
// else is ever rendered.

import { useEffect, useState } from 'preact/hooks';
import { safeName, size } from '../display';
import { t } from '../i18n';
import type { Key } from '../i18n';
import { claimsPicture, picture } from '../raster';
import type { Transfer } from '../state';
import type { FileBody, TransferState } from '../worker/protocol';
import { Icon } from './icons';
import { ProblemText } from './problem';

const running: Partial<Record<TransferState, Key>> = {
  sealing: 'fileSealing',
  uploading: 'fileUploading',
  downloading: 'fileDownloading',
  opening: 'fileOpening',
};

interface Props {
  body: FileBody;
  blob: Blob | undefined;
  transfer: Transfer | undefined;
  /** There is no connection by which it could leave. */
  waits?: boolean;
  /** None: nobody has the bytes but the vault's spool, or nobody is to be offered them. */
  fetch: (() => Promise<Blob | null>) | undefined;
  /** The browser was told to save it. */
  onSaved?: () => void;
}

export function FileCard({ body, blob, transfer, waits = false, fetch, onSaved }: Props) {
  const name = safeName(body.name);
  const [shown, failed] = usePicture(claimsPicture(body.mediaType, body.length) ? blob : undefined);
  const offersPicture = claimsPicture(body.mediaType, body.length) && !shown && !failed;
  const stage = waits && transfer?.state !== 'sealing' ? 'waiting' : transfer && running[transfer.state];
  const words = size(body.length);
  return (
    <div class="file">
      {shown && <img class="picture" src={shown} alt={t('fileImage', { name })} />}
      <div class="file-row" role="group" aria-label={t('fileOf', { name, size: words })}>
        <span class="file-icon"><Icon name={claimsPicture(body.mediaType, body.length) ? 'picture' : 'file'} /></span>
        <span class="file-words">
          <bdi class="file-name">{name}</bdi>
          <span class="file-size">{stage ? t(stage) : words}</span>
        </span>
        {!stage && fetch && (
          <span class="file-actions">
            {offersPicture && (
              <button type="button" class="file-button" onClick={() => void fetch()}>{t('fileShow')}</button>
            )}
            <button
              type="button"
              class="file-button"
              onClick={() =>
                void fetch().then((file) => {
                  if (!file) return;
                  save(file, name);
                  onSaved?.();
                })
              }
            >
              {t('fileSave')}
            </button>
          </span>
        )}
      </div>
      {stage && transfer && (
        <progress class="progress" max={Math.max(transfer.total, 1)} value={transfer.done} aria-label={t(stage)} />
      )}
      {transfer?.state === 'failed' && transfer.problem && <ProblemText problem={transfer.problem} />}
    </div>
  );
}

/** The address of the picture, and whether the bytes are none. */
function usePicture(blob: Blob | undefined): [string | null, boolean] {
  const [url, setUrl] = useState<string | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let made: string | null = null;
    let gone = false;
    setFailed(false);
    if (blob) {
      void picture(blob).then((checked) => {
        if (gone) return;
        if (checked) setUrl((made = URL.createObjectURL(checked)));
        else setFailed(true);
      });
    }
    return () => {
      gone = true;
      if (made) URL.revokeObjectURL(made);
      setUrl(null);
    };
  }, [blob]);
  return [url, failed];
}

/** Hands a file to the browser's downloads, as bytes of no type, so that nothing opens it by itself. */
function save(file: Blob, name: string): void {
  const url = URL.createObjectURL(new Blob([file], { type: 'application/octet-stream' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
