/** With more apps than this, one series for each costs more than it tells. */
export const MAX_APPS = 1000;

/** How the values that several processes have for one series become one value. */
export type MergeRule =
  /** They are added. */
  | "add"
  /** Each process sees the same thing: the largest stands. */
  | "most"
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

/** What every metric says of itself. */
export interface MetricOptions {
  readonly name: string;
  /** One sentence, English. */
  readonly help: string;
  readonly labelNames?: readonly string[];
}

/** The series of one metric, found by a walk along their label values, which joins no strings. */
class SeriesTree<Series> {
  readonly #root: Branch<Series> = { children: new Map(), series: undefined };
  readonly #create: () => Series;
  readonly #all: { labels: readonly string[]; series: Series }[] = [];

  constructor(create: () => Series) {
    this.#create = create;
  }

  at(labels: readonly string[]): Series {
    let branch = this.#root;
    for (const label of labels) {
      let next = branch.children.get(label);
      if (!next) {
        next = { children: new Map(), series: undefined };
        branch.children.set(label, next);
      }
      branch = next;
    }
    if (branch.series !== undefined) return branch.series;
    const series = this.#create();
    branch.series = series;
    this.#all.push({ labels: [...labels], series });
    return series;
  }

  samples(toSample: (labels: readonly string[], series: Series) => Sample): Sample[] {
    return this.#all.map(({ labels, series }) => toSample(labels, series));
  }

  clear(): void {
    this.#root.children.clear();
    this.#root.series = undefined;
    this.#all.length = 0;
  }
}

interface Branch<Series> {
  readonly children: Map<string, Branch<Series>>;
  series: Series | undefined;
}

/** A number that only grows. Values of labels are from a bounded set, given in the order of the label names. */
export class Counter {
  readonly #tree = new SeriesTree(() => ({ value: 0 }));

  /** Shows the series at 0 before anything is counted, so that its first rise can be seen. */
  begin(...labels: readonly string[]): void {
    this.#tree.at(labels);
  }

  increase(...labels: readonly string[]): void {
    this.#tree.at(labels).value += 1;
  }

  samples(): Sample[] {
    return this.#tree.samples((labels, { value }) => ({ labels, value }));
  }
}

/** A number that goes up and down. */
export class Gauge {
  readonly #tree = new SeriesTree(() => ({ value: 0 }));

  set(value: number, ...labels: readonly string[]): void {
    this.#tree.at(labels).value = value;
  }

  add(delta: number, ...labels: readonly string[]): void {
    this.#tree.at(labels).value += delta;
  }

  /** Forgets every series, for a gauge that is filled anew each time it is read. */
  clear(): void {
    this.#tree.clear();
  }

  samples(): Sample[] {
    return this.#tree.samples((labels, { value }) => ({ labels, value }));
  }
}

/** Counts observations in buckets. Seconds, where it is a time. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly #tree: SeriesTree<{ sum: number; readonly counts: number[] }>;

  /** `bounds` ascend. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#tree = new SeriesTree(() => ({
      sum: 0,
      counts: Array.from({ length: bounds.length + 1 }, () => 0),
    }));
  }

  observe(value: number, ...labels: readonly string[]): void {
    const series = this.#tree.at(labels);
    let index = 0;
    while (value > (this.bounds[index] ?? Infinity)) index += 1;
    series.counts[index] = (series.counts[index] ?? 0) + 1;
    series.sum += value;
  }

  samples(): Sample[] {
    return this.#tree.samples((labels, { sum, counts }) => ({ labels, value: sum, counts: [...counts] }));
  }
}

/** The metrics of one process. */
export class MetricRegistry {
  readonly #readers: (() => MetricSnapshot)[] = [];

  counter(options: MetricOptions): Counter {
    const counter = new Counter();
    if (!options.labelNames?.length) counter.begin();
    this.#readers.push(() => ({
      ...describe(options),
      type: "counter",
      merge: "add",
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

  /** Every metric as it stands, in the order in which they were made. */
  snapshot(worker: string): Snapshot {
    return { worker, metrics: this.#readers.map((read) => read()) };
  }
}

function describe({ name, help, labelNames = [] }: MetricOptions) {
  return { name, help, labelNames };
}
