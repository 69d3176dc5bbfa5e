// Notices that a person can take away. Few stand at a time, and none takes a graver one's place: the relay can bring
// about most problems, and shall push nothing out of sight by that.

import { isAlarm, isUnverified, meaning } from './meaning';
import type { Hex, Problem } from './worker/protocol';

export interface Alert {
  id: number;
  /** None: of the whole page. */
  conversation: Hex | null;
  problem: Problem;
}

/** How many of one weight stand in one conversation. */
const MOST = 2;

function weight(problem: Problem): number {
  if (isAlarm(problem) || isUnverified(problem)) return 2;
  return problem.fault === 'peer' || problem.fault === 'organisation' ? 1 : 0;
}

/** The newest of each meaning; what is too many goes from the oldest of the same weight on. */
export function withAlert(alerts: readonly Alert[], added: Alert): Alert[] {
  const beside = alerts.filter((one) => one.conversation === added.conversation);
  const same = beside.filter((one) => meaning(one.problem) === meaning(added.problem));
  const rivals = beside.filter((one) => !same.includes(one) && weight(one.problem) === weight(added.problem));
  const gone = [...same, ...rivals.slice(0, Math.max(0, rivals.length + 1 - MOST))];
  return [...alerts.filter((one) => !gone.includes(one)), added];
}

/** What stands on the screen for all alerts that mean the same, of the page and of chats. */
export interface Shown {
  problem: Problem;
  /** The newest first. */
  ids: readonly [number, ...number[]];
}

/** One of each meaning, the newest, in the place of the newest: of the page and a chat, but never of two chats. */
export function shownOnce(alerts: readonly Alert[]): Shown[] {
  const shown = new Map<string, Shown>();
  const chats = new Set(alerts.map(({ conversation }) => conversation).filter((one) => one !== null));
  for (const { id, conversation, problem } of alerts) {
    const key = chats.size > 1 ? `${conversation} ${meaning(problem)}` : meaning(problem);
    const older = shown.get(key)?.ids ?? [];
    shown.delete(key);
    shown.set(key, { problem, ids: [id, ...older] });
  }
  return [...shown.values()];
}
