// How times from outside look. Whoever wrote a message chose its time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './bundle.mjs';

const { clock, dateAndTime, dayName, dayOf } = await load('display.ts');

const LATEST = 8.64e15;

test('a time that no Date holds shows nothing, and throws nothing', () => {
  for (const time of [2 ** 64, LATEST + 1, -LATEST - 1, Infinity, -Infinity, NaN]) {
    for (const show of [clock, dateAndTime, dayName]) assert.equal(show(time), '', `${show.name}(${time})`);
    assert.doesNotThrow(() => dayOf(time));
  }
});

test('the first and the last time that a Date holds are shown', () => {
  for (const time of [-LATEST, 0, LATEST]) {
    for (const show of [clock, dateAndTime, dayName]) assert.notEqual(show(time), '', `${show.name}(${time})`);
  }
});

test('a day of another year says which', () => {
  const now = new Date();
  const year = now.getFullYear();
  assert.match(dayName(new Date(year - 3, 5, 15).getTime()), new RegExp(`June 15.*${year - 3}|15 June.*${year - 3}`));
  assert.match(dayName(LATEST), /275760/);
  assert.equal(dayName(now.getTime()), 'Today');
});
