import { usageError } from "./arguments.ts";

const UNIT_SECONDS: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
/** A hundred years: who writes more has mistyped. */
const LONGEST_SECONDS = 3_155_760_000;
const DURATION = /^(\d{1,9})([smhdw]?)$/;
const INSTANT = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A duration as seconds: a number of seconds, or one with a unit, as `90m` or `7d`.
 *
 * @throws {ServiceError} `invalid_parameter` when it is none, or not within the bounds (in seconds).
 */
export function parseDuration(option: string, text: string, most: number): number {
  const seconds = secondsOf(text);
  if (seconds !== undefined && seconds <= most) return seconds;
  throw usageError(
    `--${option}: 应为时长，如 90s、30m、12h、7d，最多${most}秒 (must be a duration, as 90s, 30m, 12h or 7d, ${most} seconds at most)`,
  );
}

/**
 * An instant as epoch milliseconds: a date or a time of this machine's zone, or a duration, which is counted from `now`
 * into the future, or into the past where the option looks back.
 *
 * @throws {ServiceError} `invalid_parameter` when it is none.
 */
export function parseInstant(option: string, text: string, now: number, looksBack: boolean): number {
  const seconds = /[smhdw]$/.test(text) ? secondsOf(text) : undefined;
  if (seconds !== undefined && seconds <= LONGEST_SECONDS) {
    return now + (looksBack ? -seconds : seconds) * 1000;
  }
  const [, date = "", time = "00:00", zone = ""] = INSTANT.exec(text) ?? [];
  // A day that the month does not have would be taken for one of the next.
  const isDay = date !== "" && new Date(`${date}T00:00Z`).getTime() >= 0 && isoDay(date) === date;
  const at = isDay ? new Date(`${date}T${time}${zone}`).getTime() : Number.NaN;
  if (!Number.isNaN(at)) return at;
  const example = looksBack ? "2027-01-31、2027-01-31T08:00、24h" : "2027-01-31、2027-01-31T08:00、90d";
  throw usageError(
    `--${option}: 应为时间，如 ${example} (must be a time, as ${example.replaceAll("、", ", ")})`,
  );
}

function secondsOf(text: string): number | undefined {
  const [, count, unit = ""] = DURATION.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * (UNIT_SECONDS[unit] ?? 1);
}

function isoDay(date: string): string {
  return new Date(`${date}T00:00Z`).toISOString().slice(0, 10);
}
