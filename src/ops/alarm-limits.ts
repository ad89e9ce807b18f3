import type { AlarmRecord, Finding } from "./alarm-state.ts";
import type { ConditionId } from "./conditions.ts";

/** So many of a kind begin with a look, at most. */
export const MAX_NEW = 100;
/** So many of a kind stand, at most; of more one alarm of the service says how many there are. */
const MAX_STANDING = 1000;

/** The first of something that `isWanted` says yes to, which is asked of nothing else. */
type Ask<T> = (isWanted: (name: string) => boolean, limit: number) => Promise<readonly T[]>;

/**
 * Asks for what stands, wherever in its order that is, and for the first of the rest: what stays wrong hides nothing new.
 * Where so much stands that no more begins, `excess` has how many there are.
 */
export async function firstOf<T>(
  ask: Ask<T>,
  standing: readonly AlarmRecord[],
  excess: Finding[],
  ...of: readonly [ConditionId, ...ConditionId[]]
): Promise<readonly T[]> {
  const names = namesOf(standing, of);
  const more = room(names);
  const all = await ask(() => true, names.size + more);
  if (all.length < names.size + more) return all;
  const kept = names.size === 0 ? [] : await ask((name) => names.has(name), names.size);
  if (more > 0) return [...kept, ...(await ask((name) => !names.has(name), more))];
  let total = 0;
  await ask(() => ((total += 1), false), 1);
  excess.push(...excessOf(of[0], total));
  return kept;
}

/** The same of what was found at once. */
export function cut(found: readonly Finding[], standing: readonly AlarmRecord[], of: ConditionId): Finding[] {
  const names = namesOf(standing, [of]);
  let more = room(names);
  const excess = more > 0 ? [] : excessOf(of, found.length);
  return [...found.filter(({ subject }) => names.has(subject) || more-- > 0), ...excess];
}

/** What there is too much of for an alarm each: one alarm of the service says how many there are. */
function excessOf(condition: ConditionId, total: number): Finding[] {
  if (total <= MAX_STANDING) return [];
  const message = `共 ${total} 个，其中 ${MAX_STANDING} 个各有告警 (${total} in all, ${MAX_STANDING} of them with an alarm of their own)`;
  return [{ condition, subject: "", detail: { message } }];
}

function namesOf(standing: readonly AlarmRecord[], of: readonly ConditionId[]): ReadonlySet<string> {
  const own = standing.filter(({ condition, subject }) => subject !== "" && of.includes(condition));
  return new Set(own.map(({ subject }) => subject));
}

function room({ size }: ReadonlySet<string>): number {
  return Math.max(0, Math.min(MAX_NEW, MAX_STANDING - size));
}
