import type { ServiceEvent } from "../events.ts";

/** Above this number of apps there are no series per app. */
export const MAX_APPS = 1000;

/** How the values of several processes for one series are merged. */
export type MergeRule =
  /** They are added. */
  | "add"
  /** Each process sees the same thing: the largest is shown. */
  | "max"
  /** They stay apart, under a label `worker`. */
  | "worker";

/** One series: its label values, in the order of the metric's label names, and what was measured. */
export interface Sample {
  readonly labels: readonly string[];
  /** A counter's or gauge's value; a histogram's sum. */
  readonly value: number;
  /** A histogram's observations per bucket, each counted once, the last for everything above the bounds. */
  readonly counts?: readonly number[];
}

/** One metric with all its series, as plain JSON. */
export interface MetricSnapshot {
  readonly name: string;
  readonly formerName?: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly merge: MergeRule;
  readonly labelNames: readonly string[];
  /** A histogram's upper bounds, ascending, without infinity. */
  readonly bounds?: readonly number[];
  readonly samples: readonly Sample[];
}

/** What one process has measured, as plain JSON: it may cross a process boundary. */
export interface Snapshot {
  /** Which process it is; unique among those that are merged. */
  readonly worker: string;
  readonly metrics: readonly MetricSnapshot[];
}

/** What every metric declares. */
export interface MetricOptions {
  readonly name: string;
  /** Its former name, under which it is also shown for one minor version. */
  readonly formerName?: string;
  /** One sentence, English. */
  readonly help: string;
  readonly labelNames?: readonly string[];
}

/** What is counted of each kind of event. */
export type EventHandlers = {
  readonly [T in ServiceEvent["type"]]?: (event: Extract<ServiceEvent, { type: T }>) => void;
};

/** Between label values that are joined. Label values are names of ours, which have none. */
const SEPARATOR = "\u001f";

/** The series of one metric, created on first use. */
class SeriesMap<Series> {
  readonly #create: () => Series;
  readonly #all = new Map<string, { readonly labels: readonly string[]; readonly series: Series }>();

  constructor(create: () => Series) {
    this.#create = create;
  }

  at(labels: readonly string[]): Series {
    const key = labels.join(SEPARATOR);
    let found = this.#all.get(key);
    if (!found) {
      found = { labels, series: this.#create() };
      this.#all.set(key, found);
    }
    return found.series;
  }

  samples(toSample: (labels: readonly string[], series: Series) => Sample): Sample[] {
    return [...this.#all.values()].map(({ labels, series }) => toSample(labels, series));
  }

  clear(): void {
    this.#all.clear();
  }
}

/** One series of a counter or gauge. It may be kept and changed. */
export interface NumberSeries {
  value: number;
}

/** A number that only grows. Values of labels are from a bounded set, given in the order of the label names. */
export class Counter {
  readonly #all = new SeriesMap<NumberSeries>(() => ({ value: 0 }));
  readonly #shown = new Set<string>();

  /** The series of these label values. It is shown from now on, at 0 at first, so that its first rise can be seen. */
  series(...labels: readonly string[]): NumberSeries {
    return this.#all.at(labels);
  }

  /** The same for each of the values `last` of the last label behind `labels`. Cheap when that was done before. */
  show(labels: readonly string[], last: readonly string[]): void {
    const key = labels.join(SEPARATOR);
    if (this.#shown.has(key)) return;
    this.#shown.add(key);
    for (const each of last) this.#all.at([...labels, each]);
  }

  increase(...labels: readonly string[]): void {
    this.#all.at(labels).value += 1;
  }

  samples(): Sample[] {
    return this.#all.samples((labels, { value }) => ({ labels, value }));
  }
}

/** A number that goes up and down. */
export class Gauge {
  readonly #all = new SeriesMap<NumberSeries>(() => ({ value: 0 }));

  set(value: number, ...labels: readonly string[]): void {
    this.#all.at(labels).value = value;
  }

  add(delta: number, ...labels: readonly string[]): void {
    this.#all.at(labels).value += delta;
  }

  /** Drops every series, for a gauge that is filled again each time it is read. */
  clear(): void {
    this.#all.clear();
  }

  samples(): Sample[] {
    return this.#all.samples((labels, { value }) => ({ labels, value }));
  }
}

/** One series of a histogram. It may be kept. */
export class HistogramSeries {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  /** Counts `value` in the first bucket whose bound is not below it. */
  observe(value: number): void {
    let index = 0;
    while (value > (this.#bounds[index] ?? Infinity)) index += 1;
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#sum += value;
  }

  sample(labels: readonly string[]): Sample {
    return { labels, value: this.#sum, counts: [...this.#counts] };
  }
}

/** Counts observations in buckets. Seconds, where it is a time. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly #all: SeriesMap<HistogramSeries>;

  /** `bounds` ascend. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#all = new SeriesMap(() => new HistogramSeries(bounds));
  }

  /** The series of these label values. */
  series(...labels: readonly string[]): HistogramSeries {
    return this.#all.at(labels);
  }

  observe(value: number, ...labels: readonly string[]): void {
    this.#all.at(labels).observe(value);
  }

  samples(): Sample[] {
    return this.#all.samples((labels, series) => series.sample(labels));
  }
}

/** The metrics of one process. */
export class MetricRegistry {
  readonly #readers: (() => MetricSnapshot)[] = [];

  /** `merge` is `add` but for what every process reads of all of them. */
  counter({ merge = "add", ...options }: MetricOptions & { readonly merge?: "add" | "max" }): Counter {
    const counter = new Counter();
    if (!options.labelNames?.length) counter.series();
    this.#readers.push(() => ({
      ...describe(options),
      type: "counter",
      merge,
      samples: counter.samples(),
    }));
    return counter;
  }

  gauge(options: MetricOptions & { readonly merge: MergeRule }): Gauge {
    const gauge = new Gauge();
    const { merge } = options;
    this.#readers.push(() => ({ ...describe(options), type: "gauge", merge, samples: gauge.samples() }));
    return gauge;
  }

  histogram(options: MetricOptions & { readonly bounds: readonly number[] }): Histogram {
    const { bounds } = options;
    const histogram = new Histogram(bounds);
    this.#readers.push(() => ({
      ...describe(options),
      type: "histogram",
      merge: "add",
      bounds,
      samples: histogram.samples(),
    }));
    return histogram;
  }

  /** Every metric as it is now, in the order in which they were made. */
  snapshot(worker: string): Snapshot {
    return { worker, metrics: this.#readers.map((read) => read()) };
  }
}

function describe({ name, formerName, help, labelNames = [] }: MetricOptions) {
  return { name, ...(formerName === undefined ? {} : { formerName }), help, labelNames };
}
