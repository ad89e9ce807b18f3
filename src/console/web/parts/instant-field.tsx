import { type FieldProps, TextField } from "./field.tsx";

/** An instant in the reader's time zone, or none. */
export function InstantField(
  props: FieldProps & {
    readonly value: number | undefined;
    readonly onInput: (at: number | undefined) => void;
  },
) {
  const input = (text: string) => {
    const at = new Date(text).getTime();
    props.onInput(Number.isNaN(at) ? undefined : at);
  };
  return <TextField {...props} type="datetime-local" value={localText(props.value)} onInput={input} />;
}

function localText(at: number | undefined): string {
  if (at === undefined) return "";
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
