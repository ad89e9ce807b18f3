import { cpus } from "node:os";
import type { Effort } from "./effort.ts";

/** One line of the table: what was measured, how often, and what was hoped for. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** Every single measurement. */
  readonly values: readonly number[];
  /** What the median should be: at most or at least this. None where the figure only explains another one. */
  readonly target?: { readonly atMost: number } | { readonly atLeast: number };
}

/** The middle value; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = Number.NaN, high = Number.NaN] = [sorted[(sorted.length - 1) >> 1], sorted[middle]];
  return (low + high) / 2;
}

/** Whether the median of the figure is as hoped; undefined when nothing was. */
function isMet({ values, target }: Figure): boolean | undefined {
  if (!target) return undefined;
  const middle = median(values);
  return "atMost" in target ? middle <= target.atMost : middle >= target.atLeast;
}

/** The figures as a table for people. */
export function asTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const { name, unit, values } = figure;
    const measured = `${round(median(values))} ${unit}`;
    const spread = `${round(Math.min(...values))}–${round(Math.max(...values))}`;
    const verdict = { true: "met", false: "MISSED", undefined: "" }[`${isMet(figure)}`];
    return [name, targetOf(figure), measured, spread, verdict];
  });
  const all = [["figure", "target", "median", "spread", ""], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")).join("\n");
}

function targetOf({ target }: Figure): string {
  if (!target) return "";
  return "atMost" in target ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`;
}

/** The figures for programs, with the machine that they were measured on. */
export function asJson(figures: readonly Figure[], effort: Effort): string {
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    platform: process.platform,
    bun: Bun.version,
  };
  const rows = figures.map((figure) => ({ ...figure, median: median(figure.values), isMet: isMet(figure) }));
  return JSON.stringify({ machine, at: new Date().toISOString(), effort, figures: rows }, null, 2);
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
