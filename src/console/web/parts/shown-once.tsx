import { signal } from "@preact/signals";
import { type ComponentChildren, Fragment } from "preact";

/** Renders what is shown; `close` is for when it was stored. */
type Content = (close: () => void) => ComponentChildren;

const contents = signal<readonly Content[]>([]);

/**
 * Shows what the service tells only once, as a new key, until `close` is called: above all screens, so that it outlives
 * the one that asked for it and the session too.
 */
export function showOnce(content: Content): void {
  contents.value = [...contents.peek(), content];
}

/** Where that appears; once, beside all screens. */
export function ShownOnce() {
  return (
    <>
      {contents.value.map((content, n) => (
        <Fragment key={n}>
          {content(() => {
            contents.value = contents.peek().filter((each) => each !== content);
          })}
        </Fragment>
      ))}
    </>
  );
}
