import { signal } from "@preact/signals";
import { clockOffsetMs } from "./api.ts";
import { language } from "./language.ts";

const SECOND_MS = 1_000;

/** Now by the server's clock, in epoch milliseconds; moves each second. Reading it in a component subscribes that to it. */
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now() + clockOffsetMs.peek();
}, SECOND_MS);

const locale = () => (language.value === "zh" ? "zh-CN" : "en");

/** A number with its thousands apart. */
export function number(value: number): string {
  return value.toLocaleString(locale());
}

/** A fraction as per cent, without decimals. */
export function percent(fraction: number): string {
  return fraction.toLocaleString(locale(), { style: "percent" });
}

/** Bytes in the unit that suits. */
export function bytes(value: number): string {
  const step = Math.min(3, Math.floor(Math.log2(Math.max(1, value)) / 10));
  const unit = ["byte", "kilobyte", "megabyte", "gigabyte"][step] ?? "byte";
  const shown = value / 1024 ** step;
  return shown.toLocaleString(locale(), { style: "unit", unit, maximumFractionDigits: shown < 10 ? 1 : 0 });
}

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", SECOND_MS],
] as const;

/** A duration in its two largest units, as `1h 23m`; of milliseconds. */
export function duration(ms: number): string {
  if (ms < SECOND_MS) {
    const whole = Math.max(0, Math.round(ms));
    return whole.toLocaleString(locale(), { style: "unit", unit: "millisecond", unitDisplay: "short" });
  }
  const first = UNITS.findIndex(([, length]) => ms >= length);
  const parts: string[] = [];
  let rest = ms;
  for (const [unit, length] of UNITS.slice(first, first + 2)) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count === 0) continue;
    parts.push(count.toLocaleString(locale(), { style: "unit", unit, unitDisplay: "narrow" }));
  }
  return parts.join(language.value === "zh" ? "" : " ");
}

/** How long ago or ahead an instant is, as `3 minutes ago`; moves with `now`. */
export function relative(at: number): string {
  const ms = at - now.value;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(ms) >= length) ?? UNITS[3];
  const style = new Intl.RelativeTimeFormat(locale(), { numeric: "auto", style: "short" });
  return style.format(Math.trunc(ms / length), unit);
}

/** An instant in the reader's time zone: to the second, or, `short`, to the minute. */
export function absolute(at: number, timeStyle: "medium" | "short" = "medium"): string {
  return new Date(at).toLocaleString(locale(), { dateStyle: "medium", timeStyle });
}
