import { absolute, relative } from "../format.ts";

/** An instant, in epoch milliseconds: how long ago, with the date on hover. Nothing where there is none: a dash. */
export function Time({ at }: { readonly at: number | null | undefined }) {
  if (at === undefined || at === null) return <span class="muted">–</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={absolute(at)}>
      {relative(at)}
    </time>
  );
}
