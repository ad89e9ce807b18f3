import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { common as w } from "./words.ts";

/** What a control of a form shows, and what it is told: `<TextField label={w.name} {...name} />`. */
export interface Input<T> {
  readonly value: T;
  readonly onInput: (value: T) => void;
}

/** The input of a field, which begins with that value. */
export function useInput<T>(initial: T): Input<T> {
  const [value, onInput] = useState(initial);
  return { value, onInput };
}

/** What every field has: its name, what helps to fill it in, and what is wrong with what it has. */
export interface FieldProps {
  readonly label: string;
  readonly hint?: ComponentChildren;
  readonly error?: string | undefined;
  readonly isOptional?: boolean;
}

/** Goes onto the control, so that label, hint and error belong to it. */
export interface ControlProps {
  readonly id: string;
  readonly "aria-describedby": string;
  readonly "aria-invalid": boolean;
}

/** A label with a control of your own: `<Field label={w.name}>{(field) => <input {...field} />}</Field>`. */
export function Field(
  props: FieldProps & { readonly children: (control: ControlProps) => ComponentChildren },
) {
  const id = useId();
  const note = `${id}-note`;
  return (
    <div class="field">
      <label for={id}>
        {props.label}
        {props.isOptional && <span class="muted"> · {w.optional}</span>}
      </label>
      {props.children({ id, "aria-describedby": note, "aria-invalid": props.error !== undefined })}
      <div id={note} class={props.error === undefined ? "hint" : "hint bad"}>
        {props.error ?? props.hint}
      </div>
    </div>
  );
}

/** A line of text. `isSecret` hides what is typed and keeps the browser from storing it. */
export function TextField(
  props: FieldProps &
    Input<string> & {
      readonly placeholder?: string;
      readonly isMono?: boolean;
      readonly isSecret?: boolean;
      /** Has the focus when it appears. */
      readonly hasFocus?: boolean;
      readonly type?: "text" | "number" | "search" | "datetime-local";
      /** Known values to choose from. */
      readonly choices?: readonly string[];
    },
) {
  const input = useRef<HTMLInputElement>(null);
  const list = useId();
  useEffect(() => {
    if (props.hasFocus) input.current?.focus();
  }, []);
  return (
    <Field {...props}>
      {(control) => (
        <>
          <input
            {...control}
            ref={input}
            // The type of the attributes is a union over the types of inputs, which a value of that union does not fit.
            {...{ type: (props.isSecret ? "password" : (props.type ?? "text")) as "text" }}
            class={props.isMono ? "mono" : ""}
            value={props.value}
            placeholder={props.placeholder}
            autocomplete={props.isSecret ? "new-password" : "off"}
            autocapitalize="off"
            spellcheck={false}
            {...(props.choices ? { list } : {})}
            onInput={(event) => props.onInput(event.currentTarget.value)}
          />
          {props.choices && (
            <datalist id={list}>
              {props.choices.map((choice) => (
                <option key={choice} value={choice} />
              ))}
            </datalist>
          )}
        </>
      )}
    </Field>
  );
}

/** Several lines of text. */
export function TextAreaField(
  props: FieldProps &
    Input<string> & {
      readonly rows?: number;
      readonly placeholder?: string;
    },
) {
  return (
    <Field {...props}>
      {(control) => (
        <textarea
          {...control}
          class="mono"
          rows={props.rows ?? 4}
          value={props.value}
          placeholder={props.placeholder}
          spellcheck={false}
          onInput={(event) => props.onInput(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

/** One of a few values; `options` are `[value, word]`. */
export function SelectField<T extends string>(
  props: FieldProps &
    Input<T> & {
      readonly options: readonly (readonly [value: T, word: string])[];
    },
) {
  return (
    <Field {...props}>
      {(control) => (
        <select
          {...control}
          value={props.value}
          onInput={(event) => {
            const chosen = props.options[event.currentTarget.selectedIndex];
            if (chosen) props.onInput(chosen[0]);
          }}
        >
          {props.options.map(([value, word]) => (
            <option key={value} value={value}>
              {word}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** Yes or no. */
export function CheckField(
  props: Input<boolean> & {
    readonly label: ComponentChildren;
    readonly hint?: string;
  },
) {
  const id = useId();
  return (
    <div class="check">
      <input
        id={id}
        type="checkbox"
        checked={props.value}
        onInput={(event) => props.onInput(event.currentTarget.checked)}
      />
      <label for={id}>
        {props.label}
        {props.hint && <span class="hint">{props.hint}</span>}
      </label>
    </div>
  );
}
