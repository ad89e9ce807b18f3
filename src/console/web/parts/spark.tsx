const WIDTH = 240;
const HEIGHT = 40;

/** One line of a spark, drawn in the order given. */
export interface Series {
  readonly values: readonly number[];
  readonly tone: "accent" | "ok" | "warn" | "bad" | "idle";
}

/**
 * A small plot without axes, from 0 up; `label` says in words what it shows. All series share one scale. Of the second
 * and further ones nothing is drawn where they are 0: a line of errors is one where there are errors.
 */
export function Spark({ series, label }: { readonly series: readonly Series[]; readonly label: string }) {
  const most = Math.max(1, ...series.flatMap(({ values }) => values));
  const path = (values: readonly number[], isWhole: boolean) =>
    values
      .map((value, n) => {
        const x = (n * WIDTH) / Math.max(1, values.length - 1);
        const y = HEIGHT - 1 - (value * (HEIGHT - 2)) / most;
        const isDrawn = n > 0 && (isWhole || value > 0 || (values[n - 1] ?? 0) > 0);
        return `${isDrawn ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      })
      .join("");
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      {series.map(({ values, tone }, n) => (
        <path key={tone} class={tone} d={path(values, n === 0)} />
      ))}
    </svg>
  );
}
