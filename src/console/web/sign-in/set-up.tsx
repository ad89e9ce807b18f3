import { useState } from "preact/hooks";
import { match, navigate, route } from "../router.ts";
import { setUp } from "../session.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { FormError, SecretDialog, useSubmit } from "../parts/dialog.tsx";
import { w } from "./words.ts";
import { Gate } from "./sign-in.tsx";

/** Where a set-up link leads: makes the first administrator, shows its key once, and goes on to the first app. */
export function SetUp() {
  const token = match("/setup/:token", route.value.path)?.["token"] ?? "";
  const [made, setMade] = useState<Awaited<ReturnType<typeof setUp>> | undefined>(undefined);
  const { submit, error, isBusy } = useSubmit(async () => setMade(await setUp(token)));
  const goOn = () => {
    made?.enter();
    navigate("/apps", { add: "1" }, { isReplacing: true });
  };
  return (
    <Gate title={error === undefined ? w.setUp : w.linkDead}>
      <p>{error === undefined ? w.setUpHint : w.linkDeadHint}</p>
      <FormError error={error} />
      {error === undefined ? (
        <form onSubmit={submit}>
          <Button type="submit" kind="primary" icon="key" isDisabled={isBusy}>
            {w.create}
          </Button>
        </form>
      ) : (
        <>
          <Code label={w.command} text="accesstoken console setup" />
          <Button onClick={() => navigate("/", {}, { isReplacing: true })}>{w.toSignIn}</Button>
        </>
      )}
      {made && (
        <SecretDialog title={w.adminKey} label={w.key} secret={made.key} onClose={goOn}>
          <p>{w.adminKeyHint}</p>
        </SecretDialog>
      )}
    </Gate>
  );
}
