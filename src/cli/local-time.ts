/** An instant in this machine's zone, to the second, as `2027-01-31T08:00:00+08:00`. `at` is in epoch milliseconds. */
export function localTime(at: number): string;
/** The same; undefined for what has no instant. */
export function localTime(at: number | undefined): string | undefined;
export function localTime(at: number | undefined): string | undefined {
  if (at === undefined) return undefined;
  const minutes = -new Date(at).getTimezoneOffset();
  const wall = new Date(at + minutes * 60_000).toISOString().slice(0, 19);
  const [hours, rest] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${wall}${minutes < 0 ? "-" : "+"}${twoDigits(hours)}:${twoDigits(rest)}`;
}

function twoDigits(number: number): string {
  return String(number).padStart(2, "0");
}
