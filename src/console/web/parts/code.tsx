import { CopyButton } from "./copy.tsx";

/** Lines to copy, as of a shell or a `.env`; `label` names them to a screen reader, and above them where they are several. */
export function Code({ text, label }: { readonly text: string; readonly label: string }) {
  const isLine = !text.trimEnd().includes("\n");
  return (
    <figure class={isLine ? "code line" : "code"}>
      <figcaption>
        <span class={isLine ? "hidden" : ""}>{label}</span>
        <CopyButton text={text} />
      </figcaption>
      <pre tabIndex={0} aria-label={label}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}
