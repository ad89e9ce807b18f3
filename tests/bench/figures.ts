import { cpus } from "node:os";

/** One line of the table: what was measured, how often, and what was hoped for. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** Every single measurement. */
  readonly values: readonly number[];
  /** What the median should be: at most or at least this. */
  readonly target: { readonly atMost: number } | { readonly atLeast: number };
}

/** The middle value; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = Number.NaN, high = Number.NaN] = [sorted[(sorted.length - 1) >> 1], sorted[middle]];
  return (low + high) / 2;
}

/** Whether the median of the figure is as hoped. */
function isMet({ values, target }: Figure): boolean {
  const middle = median(values);
  return "atMost" in target ? middle <= target.atMost : middle >= target.atLeast;
}

/** The figures as a table for people. */
export function asTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const { name, unit, values, target } = figure;
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const wanted = "atMost" in target ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`;
    const verdict = isMet(figure) ? "met" : "MISSED";
    return [name, round(median(values)), `${round(least)}–${round(most)}`, unit, wanted, verdict];
  });
  const all = [["figure", "median", "spread", "unit", "target", ""], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")).join("\n");
}

/** The figures for programs, with the machine that they were measured on. */
export function asJson(figures: readonly Figure[]): string {
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    platform: process.platform,
    bun: Bun.version,
  };
  const rows = figures.map((figure) => ({ ...figure, median: median(figure.values), isMet: isMet(figure) }));
  return JSON.stringify({ machine, at: new Date().toISOString(), figures: rows }, null, 2);
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
