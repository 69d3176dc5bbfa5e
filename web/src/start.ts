// Starts the worker. `require-trusted-types-for 'script'` lets only this one address through.

declare const WORKER_FILE: string;

interface Policies {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

export function startWorker(): Worker {
  const address = new URL(WORKER_FILE, import.meta.url).href;
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes;
  const policy = policies?.createPolicy('sealdesk-worker', {
    createScriptURL(url) {
      if (url !== address) throw new TypeError('not the address of the worker');
      return url;
    },
  });
  return new Worker(policy ? policy.createScriptURL(address) : address, { type: 'module' });
}
