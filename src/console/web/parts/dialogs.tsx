import { signal } from "@preact/signals";
import { type ComponentChildren, Fragment } from "preact";

/** Renders a dialog; `close` takes it away. */
type Content = (close: () => void) => ComponentChildren;

interface Opened {
  readonly id: number;
  readonly content: Content;
  readonly isLasting: boolean;
}

const opened = signal<readonly Opened[]>([]);
let last = 0;
/** How many screens have been left. */
let left = 0;

/**
 * Opens a dialog above the screen: `openDialog((close) => <FileDialog onClose={close} />)`. It keeps what `content` was
 * given, whatever the screen shows meanwhile, and goes with the screen.
 */
export function openDialog(content: Content): void {
  add(content, false);
}

/** As `openDialog`, for what an answer says, once it is there; not when the screen has been left by then. */
export async function openDialogAfter<T>(
  answer: Promise<T>,
  content: (answer: T, close: () => void) => ComponentChildren,
): Promise<void> {
  const before = left;
  const value = await answer;
  if (left === before) openDialog((close) => content(value, close));
}

/** As `openDialog`, for what the service tells only once, as a new key: it outlives the screen, and the session too. */
export function showOnce(content: Content): void {
  add(content, true);
}

/** Closes what goes with a screen that is left. */
export function closeDialogs(): void {
  left++;
  opened.value = opened.peek().filter(({ isLasting }) => isLasting);
}

/** Where dialogs appear; once, beside all screens. */
export function Dialogs() {
  return (
    <>
      {opened.value.map(({ id, content }) => (
        <Fragment key={id}>{content(() => remove(id))}</Fragment>
      ))}
    </>
  );
}

function add(content: Content, isLasting: boolean): void {
  opened.value = [...opened.peek(), { id: ++last, content, isLasting }];
}

function remove(id: number): void {
  opened.value = opened.peek().filter((each) => each.id !== id);
}
