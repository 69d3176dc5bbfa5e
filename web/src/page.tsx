// The page: draws what the worker tells, and tells the worker what people do. Keys, vault and connection live there.

import { render } from 'preact';
import { chooseLanguage } from './i18n';
import { scheme, showScheme } from './scheme';
import { Store } from './store';
import { App } from './ui/app';
import { startWorker } from './start';

async function main(): Promise<void> {
  showScheme(scheme());
  const root = document.getElementById('app');
  if (!root) return;
  const language = chooseLanguage(navigator.languages);
  const worker = startWorker();
  const store = new Store((message) => worker.postMessage(message));
  worker.onmessage = (event) => store.receive(event.data);
  worker.onerror = (event) => {
    event.preventDefault();
    // A script that runs says what went wrong; one that did not come says nothing.
    store.broken(event.message);
  };
  const look = () => store.seen(document.visibilityState === 'visible');
  look();
  document.addEventListener('visibilitychange', look);
  addEventListener('online', () => store.network(true));
  addEventListener('offline', () => store.network(false));
  await language;
  render(<App store={store} />, root);
}

void main();
