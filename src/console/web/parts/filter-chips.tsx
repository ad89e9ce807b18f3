import type { ComponentChildren } from "preact";
import { number } from "../format.ts";
import { common as w } from "./words.ts";

/** One value to filter by. */
export interface Chip {
  /** "" for no filter. */
  readonly value: string;
  readonly title: ComponentChildren;
  readonly count?: number | undefined;
}

/** Values of one filter, of which one is on; a click on it turns it off. */
export function FilterChips(props: {
  readonly chips: readonly Chip[];
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly label?: string;
}) {
  return (
    <div class="chips" role="group" aria-label={props.label ?? w.filters}>
      {props.chips.map(({ value, title, count }) => (
        <button
          key={value}
          type="button"
          class="chip"
          aria-pressed={value === props.value}
          onClick={() => props.onChange(value === props.value ? "" : value)}
        >
          {title}
          {count !== undefined && <span class="count">{number(count)}</span>}
        </button>
      ))}
    </div>
  );
}
