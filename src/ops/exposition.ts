import type { MetricSnapshot, Sample, Snapshot } from "./metrics.ts";

/** The content type of `mergeSnapshots`' text. */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * What several processes have measured, as one text in Prometheus' format.
 *
 * Each metric follows its own merge rule: counters, histograms and additive gauges are summed, what belongs to one
 * process keeps a label `worker`. A list of one is the text of that process.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function mergeSnapshots(list: readonly Snapshot[]): string {
  const merged = new Map<string, MergedMetric>();
  for (const { worker, metrics } of list) {
    for (const metric of metrics) {
      const known = merged.get(metric.name) ?? { metric, samples: new Map<string, Sample>() };
      merged.set(metric.name, known);
      for (const sample of metric.samples) mergeSample(known, metric, sample, worker);
    }
  }
  return [...merged.values()].map(bothTexts).join("");
}

interface MergedMetric {
  readonly metric: MetricSnapshot;
  /** By their label values. */
  readonly samples: Map<string, Sample>;
}

function mergeSample(known: MergedMetric, metric: MetricSnapshot, sample: Sample, worker: string): void {
  const labels = metric.merge === "worker" ? [...sample.labels, worker] : sample.labels;
  const key = JSON.stringify(labels);
  const before = known.samples.get(key);
  if (!before) {
    known.samples.set(key, { ...sample, labels });
  } else if (metric.merge === "add") {
    const counts = sample.counts?.map((count, index) => count + (before.counts?.[index] ?? 0));
    known.samples.set(key, { labels, value: before.value + sample.value, ...(counts ? { counts } : {}) });
  } else if (sample.value > before.value) {
    known.samples.set(key, { ...sample, labels });
  }
}

/** A renamed metric is shown under both names for one minor version, so that alerts survive the upgrade. */
function bothTexts({ metric, samples }: MergedMetric): string {
  const { name, formerName } = metric;
  const text = metricText({ metric, samples });
  if (formerName === undefined) return text;
  return text + metricText({ metric: { ...metric, name: formerName, help: `Now ${name}.` }, samples });
}

function metricText({ metric, samples }: MergedMetric): string {
  const { name, help, type, merge } = metric;
  const labelNames = merge === "worker" ? [...metric.labelNames, "worker"] : metric.labelNames;
  const head = `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n# TYPE ${name} ${type}\n`;
  const lines = [...samples.values()].map(({ labels, value, counts }) => {
    const pairs = labelNames.map((labelName, index) => pairText(labelName, labels[index] ?? ""));
    if (!counts) return line(name, pairs, value);
    return histogramText(name, pairs, value, counts, metric.bounds ?? []);
  });
  return head + lines.join("");
}

/** Buckets are cumulative in the text. */
function histogramText(
  name: string,
  pairs: readonly string[],
  sum: number,
  counts: readonly number[],
  bounds: readonly number[],
): string {
  let total = 0;
  const buckets = counts.map((count, index) => {
    total += count;
    const bound = bounds[index];
    return line(
      `${name}_bucket`,
      [...pairs, pairText("le", bound === undefined ? "+Inf" : String(bound))],
      total,
    );
  });
  return buckets.join("") + line(`${name}_sum`, pairs, sum) + line(`${name}_count`, pairs, total);
}

function line(name: string, pairs: readonly string[], value: number): string {
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}\n`;
}

function pairText(name: string, value: string): string {
  const escaped = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return `${name}="${escaped}"`;
}
