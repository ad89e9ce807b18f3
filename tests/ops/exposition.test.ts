import { expect, test } from "bun:test";
import { mergeSnapshots } from "../../src/ops/exposition.ts";
import { MetricRegistry, type Snapshot } from "../../src/ops/metrics.ts";
import { parseExposition } from "./prometheus-text.ts";

function worker(name: string) {
  const registry = new MetricRegistry();
  const parts = {
    requests: registry.counter({ name: "requests_total", help: "Requests.", labelNames: ["route"] }),
    waits: registry.counter({ name: "waits_total", help: "Waits." }),
    flights: registry.gauge({ name: "flights", help: "Flights.", merge: "add" }),
    build: registry.gauge({ name: "build", help: "Build.", merge: "max" }),
    memory: registry.gauge({ name: "memory", help: "Memory.", merge: "worker" }),
    times: registry.histogram({ name: "times", help: "Times.", labelNames: ["route"], bounds: [0.1, 1] }),
  };
  // Through JSON and back, as between two processes.
  const snapshot = () => JSON.parse(JSON.stringify(registry.snapshot(name))) as Snapshot;
  return { ...parts, snapshot };
}

test("the text can be read by the letter of Prometheus' format, whatever is in a label", () => {
  const { requests, snapshot } = worker("1");
  const odd = 'a"b\\c\nd{e="f",}\\n';
  requests.increase(odd);
  requests.increase(odd);
  requests.increase("");

  const text = parseExposition(mergeSnapshots([snapshot()]));
  expect(text.value("requests_total", { route: odd })).toBe(2);
  expect(text.value("requests_total", { route: "" })).toBe(1);
  expect(text.types.get("requests_total")).toBe("counter");
});

test("a help text with a line break stays one line", () => {
  const registry = new MetricRegistry();
  registry.counter({ name: "odd_total", help: "One\\two\nthree 3" });
  expect(mergeSnapshots([registry.snapshot("1")])).toBe(
    "# HELP odd_total One\\\\two\\nthree 3\n# TYPE odd_total counter\nodd_total 0\n",
  );
});

test("a histogram's buckets count all that lies below their bound, the last one everything", () => {
  const { times, snapshot } = worker("1");
  for (const seconds of [0.05, 0.1, 0.5, 7]) times.observe(seconds, "/");

  const text = parseExposition(mergeSnapshots([snapshot()]));
  expect(["0.1", "1", "+Inf"].map((le) => text.value("times_bucket", { route: "/", le }))).toEqual([2, 3, 4]);
  expect(text.value("times_count", { route: "/" })).toBe(4);
  expect(text.value("times_sum", { route: "/" })).toBeCloseTo(7.65);
});

test("the snapshots of three workers make one text: sums, what all see alike, and what is each one's own", () => {
  const workers = ["1", "2", "3"].map(worker);
  for (const [index, each] of workers.entries()) {
    each.requests.increase("/a");
    if (index > 0) each.requests.increase("/b");
    each.waits.increase();
    each.flights.add(index + 1);
    each.build.set(1);
    each.memory.set(100 * (index + 1));
    each.times.observe(index, "/a");
  }

  const text = parseExposition(mergeSnapshots(workers.map((each) => each.snapshot())));
  expect(text.value("requests_total", { route: "/a" })).toBe(3);
  expect(text.value("requests_total", { route: "/b" })).toBe(2);
  expect(text.value("waits_total")).toBe(3);
  expect(text.value("flights")).toBe(6);
  expect(text.value("build")).toBe(1);
  expect(["1", "2", "3"].map((name) => text.value("memory", { worker: name }))).toEqual([100, 200, 300]);
  expect(text.value("times_bucket", { route: "/a", le: "0.1" })).toBe(1);
  expect(text.value("times_bucket", { route: "/a", le: "1" })).toBe(2);
  expect(text.value("times_count", { route: "/a" })).toBe(3);
  expect(text.value("times_sum", { route: "/a" })).toBe(3);
});

test("a metric that was renamed is shown under both names, with the same series", () => {
  const registry = new MetricRegistry();
  const counter = registry.counter({
    name: "new_total",
    formerName: "old_total",
    help: "Both.",
    labelNames: ["a"],
  });
  counter.series("1").value += 2;
  counter.series("2");
  const text = parseExposition(mergeSnapshots([registry.snapshot("1"), registry.snapshot("2")]));
  for (const name of ["new_total", "old_total"]) {
    expect([text.value(name, { a: "1" }), text.value(name, { a: "2" })]).toEqual([4, 0]);
    expect(text.types.get(name)).toBe("counter");
  }
});

test("a series that is kept counts as the metric that it is of", () => {
  const registry = new MetricRegistry();
  const counter = registry.counter({ name: "kept_total", help: "Kept.", labelNames: ["a", "b"] });
  const times = registry.histogram({ name: "times", help: "Times.", labelNames: ["a"], bounds: [1] });
  const [kept, seconds] = [counter.series("x", "y"), times.series("x")];
  kept.value += 1;
  counter.increase("x", "y");
  seconds.observe(0.5);
  times.observe(2, "x");
  const text = parseExposition(mergeSnapshots([registry.snapshot("1")]));
  expect(text.value("kept_total", { a: "x", b: "y" })).toBe(2);
  expect(text.value("times_bucket", { a: "x", le: "1" })).toBe(1);
  expect(text.value("times_count", { a: "x" })).toBe(2);
});

test("a gauge that is read anew each time forgets what is gone", () => {
  const registry = new MetricRegistry();
  const lives = registry.gauge({ name: "lives", help: "Lives.", labelNames: ["app"], merge: "max" });
  lives.set(5, "a");
  lives.clear();
  lives.set(7, "b");
  const text = parseExposition(mergeSnapshots([registry.snapshot("1")]));
  expect(text.series).toEqual([{ name: "lives", labels: { app: "b" }, value: 7 }]);
});

test("the reader of these tests refuses what Prometheus would refuse", () => {
  for (const bad of [
    "a 1\n",
    "# TYPE a counter\na 1\na 2\n",
    '# TYPE a counter\na{b="c} 1\n',
    "# TYPE a counter\na one\n",
    "# TYPE a counter\na 1",
    "# TYPE a counter\n\na 1\n",
  ]) {
    expect(() => parseExposition(bad)).toThrow();
  }
});
