import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Button } from "./button.tsx";
import { CopyButton } from "./copy.tsx";
import { openDialog } from "./dialogs.tsx";
import { Field, TextField, useInput } from "./field.tsx";
import { errorText } from "./toast.tsx";
import { common as w } from "./words.ts";

/** A modal dialog; it is there while it is rendered. Escape closes it unless `isBlocking`; the focus returns then. */
export function Dialog(props: {
  readonly title: string;
  readonly onClose: () => void;
  readonly isBlocking?: boolean;
  readonly isWide?: boolean;
  readonly children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    dialog.current?.querySelector<HTMLElement>("input, select, textarea, footer button")?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={props.isWide ? "wide" : ""}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        if (!props.isBlocking) props.onClose();
      }}
      onKeyDown={(event) => {
        // Some browsers close a dialog at the second Escape, whatever `cancel` says.
        if (event.key === "Escape" && props.isBlocking) event.preventDefault();
      }}
    >
      <header>
        <h2 id={id}>{props.title}</h2>
        {!props.isBlocking && <Button kind="quiet" icon="close" label={w.close} onClick={props.onClose} />}
      </header>
      {props.children}
    </dialog>
  );
}

/** A form in a dialog: shows what the service refuses, stays open then, and takes one submission at a time. */
export function FormDialog(props: {
  readonly title: string;
  /** The word on the button. */
  readonly action: string;
  readonly kind?: "primary" | "danger";
  readonly isDisabled?: boolean;
  readonly isWide?: boolean;
  readonly onClose: () => void;
  /** Closes the dialog when it resolves. */
  readonly onSubmit: () => Promise<unknown>;
  readonly children?: ComponentChildren;
}) {
  const { submit, error, isBusy } = useSubmit(async () => {
    await props.onSubmit();
    props.onClose();
  });
  return (
    <Dialog title={props.title} onClose={props.onClose} isWide={props.isWide ?? false}>
      {/* A script or an extension can send a form whose button is disabled. */}
      <form onSubmit={props.isDisabled ? (event) => event.preventDefault() : submit} noValidate>
        <div class="fields">{props.children}</div>
        <FormError error={error} />
        <footer>
          <Button onClick={props.onClose}>{w.cancel}</Button>
          <Button
            type="submit"
            kind={props.kind ?? "primary"}
            isDisabled={isBusy || (props.isDisabled ?? false)}
          >
            {props.action}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

/** The submission of a form: `<form onSubmit={submit}>`; one at a time, and what the last one failed with. */
export function useSubmit(work: () => Promise<unknown>) {
  const [error, setError] = useState<unknown>(undefined);
  const [isBusy, setIsBusy] = useState(false);
  const run = async () => {
    setIsBusy(true);
    setError(undefined);
    await work().catch(setError);
    setIsBusy(false);
  };
  const submit = (event: Event) => {
    event.preventDefault();
    if (!isBusy) void run();
  };
  return { submit, error, isBusy };
}

/** What a form failed with, in words; nothing while it has not. */
export function FormError({ error }: { readonly error: unknown }) {
  return (
    <div class="form-error" role="alert">
      {error !== undefined && errorText(error)}
    </div>
  );
}

/** What is asked before something happens. */
interface Question {
  readonly title: string;
  /** The word on the button. */
  readonly action: string;
  readonly hint: ComponentChildren;
  /** What has to be typed for what can't be undone, as the prefix of a key. */
  readonly text?: string;
  /** Default `danger`. */
  readonly kind?: "primary" | "danger";
  readonly onConfirm: () => Promise<unknown>;
}

/** Asks before something happens, in the language of the moment: `ask(() => ({ title: w.remove, … }))`. */
export function ask(question: () => Question): void {
  openDialog((close) => <Confirmation {...question()} onClose={close} />);
}

function Confirmation(props: Question & { readonly onClose: () => void }) {
  const typed = useInput("");
  return (
    <FormDialog
      title={props.title}
      action={props.action}
      kind={props.kind ?? "danger"}
      isDisabled={props.text !== undefined && typed.value !== props.text}
      onClose={props.onClose}
      onSubmit={props.onConfirm}
    >
      <p>{props.hint}</p>
      {props.text !== undefined && (
        <TextField label={w.typeToConfirm(props.text)} {...typed} isMono hasFocus />
      )}
    </FormDialog>
  );
}

/** Shows a secret this once: it closes only by saying that it was stored. `children` say how it is used. */
export function SecretDialog(props: {
  readonly title: string;
  readonly label: string;
  readonly secret: string;
  readonly onClose: () => void;
  readonly children?: ComponentChildren;
}) {
  return (
    <Dialog title={props.title} onClose={props.onClose} isBlocking isWide>
      <div class="fields">
        <Field label={props.label} hint={w.shownOnce}>
          {(field) => (
            <span class="secret">
              <input
                {...field}
                class="mono"
                readOnly
                value={props.secret}
                onFocus={(event) => event.currentTarget.select()}
              />
              <CopyButton text={props.secret} isWide />
            </span>
          )}
        </Field>
        {props.children}
      </div>
      <footer>
        <Button kind="primary" onClick={props.onClose}>
          {w.storedIt}
        </Button>
      </footer>
    </Dialog>
  );
}
