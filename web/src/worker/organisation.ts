// Which organisation: config.json says the root hash that the page was built for, org.json is verified against it.

import * as clock from './clock';
import { Organisation, refuse } from './core';
import type { Config } from './protocol';

async function fetchJson(name: string): Promise<unknown> {
  let answer: Response;
  try {
    answer = await fetch(new URL(name, import.meta.url), { cache: 'no-store', credentials: 'omit', redirect: 'error' });
  } catch {
    throw refuse('org_missing', 'network', `${name} could not be fetched.`);
  }
  clock.setFromHeader(answer.headers.get('date'));
  if (!answer.ok) throw refuse('org_missing', 'organisation', `${name} is not there (status ${answer.status}).`);
  try {
    return await answer.json();
  } catch {
    throw refuse('org_malformed', 'organisation', `${name} is no JSON.`);
  }
}

export async function readConfig(): Promise<Config> {
  const config = (await fetchJson('config.json')) as Partial<Config> | null;
  if (typeof config?.root !== 'string') throw refuse('org_malformed', 'organisation', 'config.json names no organisation.');
  return { root: config.root, demo: config.demo === true };
}

/** Throws the problem when a check fails. */
export async function readOrganisation(config: Config): Promise<Organisation> {
  const file = (await fetchJson('org.json')) as Record<string, unknown> | null;
  const text = (name: string): string => {
    const value = file?.[name];
    if (typeof value !== 'string') throw refuse('org_malformed', 'organisation', `org.json has no "${name}".`);
    return value;
  };
  const revocations = file?.['revocations'] === undefined ? undefined : text('revocations');
  return Organisation.verify(
    config.root,
    Number(file?.['sealdesk']),
    text('root'),
    text('pins'),
    text('issuer'),
    text('settings'),
    revocations,
    clock.wall(),
  );
}
