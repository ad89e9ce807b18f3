/** One line of Prometheus' text format. */
interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A text in Prometheus' format, read by the letter of the format. */
export interface Exposition {
  readonly types: ReadonlyMap<string, string>;
  readonly series: readonly Series[];
  /** The value of the one series with exactly these labels; 0 when there is none. */
  value(name: string, labels?: Record<string, string>): number;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const PAIR = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;

/** Reads `text`. Throws at whatever Prometheus would refuse: a stray line, a series given twice, one without a type. */
export function parseExposition(text: string): Exposition {
  if (!text.endsWith("\n")) throw new Error("the last line is not ended");
  const types = new Map<string, string>();
  const byKey = new Map<string, Series>();
  for (const line of text.slice(0, -1).split("\n")) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (type) {
      if (types.has(type[1]!)) throw new Error(`two types: ${line}`);
      types.set(type[1]!, type[2]!);
    }
    if (type || /^# HELP \S+ .+$/.test(line)) continue;
    const match = LINE.exec(line);
    if (!match) throw new Error(`not a line: ${line}`);
    const series = { name: match[1]!, labels: readLabels(match[2]), value: readNumber(match[3]!) };
    const family = series.name.replace(/_(bucket|sum|count)$/, "");
    if (!types.has(series.name) && types.get(family) !== "histogram") throw new Error(`no type: ${line}`);
    const key = keyOf(series.name, series.labels);
    if (byKey.has(key)) throw new Error(`given twice: ${line}`);
    byKey.set(key, series);
  }
  return {
    types,
    series: [...byKey.values()],
    value: (name, labels = {}) => byKey.get(keyOf(name, labels))?.value ?? 0,
  };
}

function readLabels(text = ""): Record<string, string> {
  const labels: Record<string, string> = {};
  PAIR.lastIndex = 0;
  for (let end = 0; end < text.length; end = PAIR.lastIndex) {
    const [, name = "", value = ""] = PAIR.exec(text) ?? [];
    if (name === "" || Object.hasOwn(labels, name)) throw new Error(`not labels: ${text}`);
    labels[name] = value.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
  }
  return labels;
}

function readNumber(text: string): number {
  const value = Number(text);
  if (Number.isNaN(value)) throw new Error(`not a number: ${text}`);
  return value;
}

function keyOf(name: string, labels: Readonly<Record<string, string>>): string {
  return JSON.stringify([name, ...Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
}
