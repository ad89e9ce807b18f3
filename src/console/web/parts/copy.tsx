import { useState } from "preact/hooks";
import { Button } from "./button.tsx";
import { toast } from "./toast.tsx";
import { common as w } from "./words.ts";

const SHOWN_MS = 1_500;

async function copyText(text: string): Promise<void> {
  // Plain http has no clipboard, but its old command.
  if ("clipboard" in navigator) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  if (!isDone) throw new Error("the browser refused");
}

/** A button that copies `text`; beside an id as the icon alone, with `isWide` with its word. */
export function CopyButton(props: {
  readonly text: string;
  readonly label?: string;
  readonly isWide?: boolean;
  readonly onCopied?: () => void;
}) {
  const [isDone, setIsDone] = useState(false);
  const copy = async (event: MouseEvent) => {
    event.stopPropagation();
    try {
      await copyText(props.text);
    } catch {
      return toast(w.copyFailed, "bad");
    }
    setIsDone(true);
    setTimeout(() => setIsDone(false), SHOWN_MS);
    props.onCopied?.();
  };
  const name = isDone ? w.copied : (props.label ?? w.copyText);
  return props.isWide ? (
    <Button icon={isDone ? "check" : "copy"} onClick={copy}>
      {name}
    </Button>
  ) : (
    <Button kind="quiet" isSmall icon={isDone ? "check" : "copy"} label={name} onClick={copy} />
  );
}

/** An identifier in a monospaced face, with a button that copies it. */
export function Id({ text, label }: { readonly text: string; readonly label?: string }) {
  return (
    <span class="id">
      <code>{text}</code>
      <CopyButton text={text} {...(label === undefined ? {} : { label })} />
    </span>
  );
}
