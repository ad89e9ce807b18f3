import type { ComponentChildren } from "preact";
import { halfOf } from "../language.ts";

/** What is the matter and what to do about it, in the words of the service; `mark` stands at the end of the first line. */
export function Explained(props: {
  readonly message: string;
  readonly fix?: string | undefined;
  /** Before the message. */
  readonly code?: string | number;
  /** What was found, or WeChat's own word. */
  readonly detail?: string | undefined;
  readonly mark?: ComponentChildren;
}) {
  const { message, fix, code, detail, mark } = props;
  return (
    <div class="explained">
      <header>
        <h3>
          {code !== undefined && <code>{code} </code>}
          {sentence(halfOf(message))}
        </h3>
        {mark}
      </header>
      {detail !== undefined && <code class="muted">{detail}</code>}
      {fix !== undefined && <p>{sentence(halfOf(fix))}</p>}
    </div>
  );
}

/** Half of a message as a sentence of its own. */
function sentence(text: string): string {
  return text.replace(/^[a-z]+(?=[ ,:])/, (word) => word.charAt(0).toUpperCase() + word.slice(1));
}
