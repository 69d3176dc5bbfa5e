// Which notices stand beside each other.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './bundle.mjs';

const { shownOnce, withAlert } = await load('alerts.ts');

const HERE = 'aa';
const standing = (...problems) =>
  problems
    .map(([code, fault, conversation = HERE], id) => ({ id, conversation, problem: { code, fault, text: '', hint: '' } }))
    .reduce(withAlert, [])
    .map(({ problem }) => problem.code);

const OF_THE_RELAY = [['bad_frame', 'relay'], ['relay_restored', 'relay'], ['clock', 'you'], ['internal', 'relay'], ['unavailable', 'relay'], ['away', 'network']];

test('nothing takes the place of a warning about who is at the other end', () => {
  const others = [...OF_THE_RELAY, ['set_aside', 'peer'], ['no_prekeys', 'peer'], ['mailbox_full', 'peer'], ['org_refused', 'organisation']];
  const left = standing(['certificate_revoked', 'organisation'], ...others);
  assert.ok(left.includes('certificate_revoked'), left.join());
});

test('what the relay or the network brings about takes no place of what the other side did', () => {
  const left = standing(['set_aside', 'peer'], ['org_refused', 'organisation'], ...OF_THE_RELAY);
  assert.deepEqual(left, ['set_aside', 'org_refused', 'unavailable', 'away']);
});

test('one of each meaning stands: the newest', () => {
  assert.deepEqual(standing(['certificate_expired', 'organisation'], ['clock', 'you'], ['certificate_revoked', 'organisation']), ['clock', 'certificate_revoked']);
});

test('one chat takes no place of another', () => {
  const elsewhere = OF_THE_RELAY.map(([code, fault]) => [code, fault, 'bb']);
  assert.ok(standing(['unavailable', 'relay'], ...elsewhere).includes('unavailable'));
  assert.equal(standing(['certificate_revoked', 'organisation'], ['certificate_revoked', 'organisation', 'bb']).length, 2);
});

test('what a chat and the page say alike is shown once, and goes as one', () => {
  const alerts = [['certificate_expired', 'organisation'], ['away', 'network'], ['certificate_revoked', 'organisation', null]]
    .map(([code, fault, conversation = HERE], id) => ({ id, conversation, problem: { code, fault, text: '', hint: '' } }))
    .reduce(withAlert, []);
  assert.deepEqual(shownOnce(alerts).map(({ problem, ids }) => [problem.code, ids]), [['away', [1]], ['certificate_revoked', [2, 0]]]);
});

test('what two chats say alike is shown for each: one click takes away one warning', () => {
  const both = [HERE, 'bb'].map((conversation, id) => ({ id, conversation, problem: { code: 'certificate_revoked', fault: 'organisation', text: '', hint: '' } }));
  assert.deepEqual(shownOnce(both).map(({ ids }) => ids), [[0], [1]]);
});
