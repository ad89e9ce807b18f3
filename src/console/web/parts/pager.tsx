import { number } from "../format.ts";
import { route, setQuery } from "../router.ts";
import { Button } from "./button.tsx";
import { common as w } from "./words.ts";

const SIZES = [50, 100, 200] as const;

/** The size of a page that the route asks for in `limit`: 50, 100 or 200. */
export function pageSize(): number {
  const wanted = Number(route.value.query.get("limit"));
  return SIZES.find((size) => size === wanted) ?? SIZES[0];
}

/**
 * Below a table whose server pages: how many rows there are, and the way to more. `next` is the cursor that the server
 * answered; it stands in the query as `after`.
 */
export function Pager(props: { readonly count: number; readonly next?: string | number | undefined }) {
  const isFirst = !route.value.query.has("after");
  const isOnly = isFirst && props.next === undefined;
  const said = (isOnly ? w.total : w.shown)(number(props.count));
  if (isOnly && props.count <= SIZES[0]) return <p class="pager muted">{said}</p>;
  return (
    <div class="pager">
      <span class="muted">{said}</span>
      <label>
        <span>{w.perPage}</span>
        <select
          value={pageSize()}
          onInput={(event) => setQuery({ limit: event.currentTarget.value, after: undefined })}
        >
          {SIZES.map((size) => (
            <option key={size} value={size}>
              {size}
            </option>
          ))}
        </select>
      </label>
      <span class="grow" />
      <Button isSmall isDisabled={isFirst} onClick={() => setQuery({ after: undefined }, { isStep: true })}>
        {w.firstPage}
      </Button>
      <Button
        isSmall
        isDisabled={props.next === undefined}
        onClick={() => setQuery({ after: props.next }, { isStep: true })}
      >
        {w.nextPage}
      </Button>
    </div>
  );
}
