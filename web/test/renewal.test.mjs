// When org.json is asked for again, and which one is in force.

import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { load } from './bundle.mjs';

const { Renewal } = await load('worker/renewal.ts');

const organisation = (version) => ({ version, equals: (other) => other.version === version });
const FIRST = 5000;

/** One whose readings are answered by hand. */
function renewing() {
  const readings = [];
  const told = [];
  const renewal = new Renewal(organisation(1), () => undefined, (problem) => told.push(problem.code));
  renewal.begin(() => new Promise((resolve, reject) => readings.push({ resolve, reject })));
  return { renewal, readings, told };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
});

test('one that cannot be read takes nothing from another that is on its way', async () => {
  const { renewal, readings, told } = renewing();
  void renewal.ask();
  void renewal.ask();
  readings[0].resolve(organisation(2));
  await settled();
  readings[1].reject({ code: 'org_unreadable', fault: 'organisation', text: '', hint: '' });
  await settled();
  assert.equal(renewal.taken(), true);
  assert.equal(renewal.inForce.version, 2);
  assert.deepEqual(told, []);
  renewal.stop();
});

test('what is said to hold no longer only after the awaited one was taken over ends the asking as well', async () => {
  const { renewal, readings } = renewing();
  renewal.heard('certificate_foreign');
  readings[0].resolve(organisation(2));
  await settled();
  assert.equal(renewal.taken(), true);
  renewal.cleared('certificate_foreign');
  mock.timers.tick(10 * FIRST);
  assert.equal(readings.length, 1);
  // A later change is asked for at once.
  renewal.heard('consent_outdated');
  assert.equal(readings.length, 2);
  renewal.stop();
});

test('another sign is heard while one stands, each once', async () => {
  const { renewal, readings } = renewing();
  renewal.heard('certificate_foreign');
  readings[0].resolve(organisation(2));
  await settled();
  renewal.taken();
  renewal.heard('consent_outdated');
  renewal.heard('consent_outdated');
  renewal.heard('certificate_foreign');
  assert.equal(readings.length, 2);
  renewal.stop();
});

test('it is asked for until the one is there under which the relay\'s list counts', async () => {
  const { renewal, readings } = renewing();
  renewal.heard('revocations_refused');
  assert.equal(readings.length, 1);
  // Another, but not the awaited one.
  readings[0].resolve(organisation(2));
  await settled();
  assert.equal(renewal.taken(), true);
  mock.timers.tick(FIRST);
  assert.equal(readings.length, 2);
  readings[1].resolve(organisation(3));
  await settled();
  renewal.cleared('revocations_refused');
  assert.equal(renewal.taken(), true);
  mock.timers.tick(10 * FIRST);
  assert.equal(readings.length, 2, 'and no longer');
  renewal.stop();
});
