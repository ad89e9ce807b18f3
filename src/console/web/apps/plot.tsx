import { absolute, number } from "../format.ts";

const WIDTH = 1000;
const HEIGHT = 120;

/** One series of a plot, `[instant, count]` for each step in which there was any. */
export interface PlotSeries {
  readonly name: string;
  readonly tone: "accent" | "info" | "ok" | "bad";
  readonly points: readonly (readonly [number, number])[];
}

/** Counts by hour or day as stacked bars, with a legend and the sums; each bar says on hover what it counts. */
export function Plot(props: {
  readonly label: string;
  readonly from: number;
  readonly to: number;
  readonly stepMs: number;
  readonly series: readonly PlotSeries[];
}) {
  const { label, from, to, stepMs, series } = props;
  const steps = Math.max(1, Math.ceil((to - from) / stepMs));
  const sums = new Map<number, number>();
  for (const { points } of series) for (const [at, n] of points) sums.set(at, (sums.get(at) ?? 0) + n);
  const most = Math.max(1, ...sums.values());
  const width = WIDTH / steps;
  const gap = Math.min(2, width / 5);
  const below = new Map<number, number>();
  const total = ({ points }: PlotSeries) => number(points.reduce((sum, [, n]) => sum + n, 0));
  const said = series.map((each) => `${each.name} ${total(each)}`).join(", ");
  return (
    <figure class="plot">
      <figcaption>
        <strong>{label}</strong>
        {series.map((each) => (
          <span key={each.name} class="legend-item">
            <span class={`swatch ${each.tone}`} />
            {each.name} {total(each)}
          </span>
        ))}
        <span class="grow" />
        <span class="muted">{number(most)}</span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${label}: ${said}`}
      >
        {series.flatMap(({ name, tone, points }) =>
          points.map(([at, n]) => {
            const height = (n * (HEIGHT - 4)) / most;
            const under = below.get(at) ?? 0;
            below.set(at, under + height);
            return (
              <rect
                key={`${name} ${at}`}
                class={tone}
                x={Math.round((at - from) / stepMs) * width + gap / 2}
                y={HEIGHT - under - Math.max(1.5, height)}
                width={width - gap}
                height={Math.max(1.5, height)}
              >
                <title>{`${absolute(at)} · ${name} ${number(n)}`}</title>
              </rect>
            );
          }),
        )}
      </svg>
      <div class="plot-axis muted">
        <span>{absolute(from, "short")}</span>
        <span>{absolute(to, "short")}</span>
      </div>
    </figure>
  );
}
