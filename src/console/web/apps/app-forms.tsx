import { patch, post } from "../api.ts";
import { FormDialog } from "../parts/dialog.tsx";
import { CheckField, SelectField, TextField, useInput } from "../parts/field.tsx";
import { toast } from "../parts/toast.tsx";
import { navigate } from "../router.ts";
import type { AppStatus } from "./app-status.tsx";
import { w } from "./words.ts";

/** Takes a new app; goes to it when WeChat has said that its secret is right. */
export function AddApp({ onClose }: { readonly onClose: () => void }) {
  const kind = useInput("weixin");
  const id = useInput("");
  const agent = useInput("");
  const title = useInput("");
  const secret = useInput("");
  const mode = useInput("stable");
  const isVerified = useInput(true);
  const isWecom = kind.value === "wecom";
  const isWebsite = kind.value === "website";
  const add = async () => {
    const { app } = await post<AppStatus>("/v1/apps", {
      ...{ platform: isWecom ? "wecom" : "weixin", app_id: id.value.trim(), secret: secret.value.trim() },
      ...(isWecom ? { agent: agent.value.trim() } : { mode: mode.value }),
      ...(title.value.trim() === "" ? {} : { title: title.value.trim() }),
      ...(isWebsite ? { login_only: true } : { verify: isVerified.value }),
    });
    toast(w.added(app));
    navigate(`/apps/${encodeURIComponent(app)}`);
  };
  return (
    <FormDialog
      title={w.add}
      action={w.add}
      onClose={onClose}
      onSubmit={add}
      isDisabled={id.value === "" || secret.value === ""}
    >
      <SelectField
        label={w.platform}
        {...kind}
        options={[
          ["weixin", w.ofWeixin],
          ["wecom", w.ofWecom],
          ["website", w.website],
        ]}
      />
      <TextField
        label={isWecom ? w.corpId : w.appId}
        hint={isWecom ? w.corpIdHint : w.appIdHint}
        {...id}
        isMono
        hasFocus
      />
      {isWecom && <TextField label={w.agent} hint={w.agentHint} {...agent} isMono />}
      <TextField label={w.secret} hint={w.secretHint} {...secret} isMono isSecret />
      <TextField label={w.displayName} hint={w.displayNameHint} {...title} isOptional />
      {kind.value === "weixin" && <ModeField {...mode} />}
      {!isWebsite && <CheckField label={w.verify} hint={w.verifyHint} {...isVerified} />}
    </FormDialog>
  );
}

/** Changes an app's title, mode or secret. */
export function EditApp({
  app,
  onClose,
  onSaved,
}: {
  /** As it was when this was opened. */
  readonly app: AppStatus;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}) {
  const title = useInput(app.title ?? "");
  const mode = useInput<string>(app.mode ?? "");
  const secret = useInput("");
  const save = async () => {
    const body = {
      title: title.value.trim() === "" ? null : title.value.trim(),
      ...(app.mode === undefined ? {} : { mode: mode.value }),
      ...(secret.value === "" ? {} : { secret: secret.value.trim(), verify: !app.login_only && !app.role }),
    };
    await patch(`/v1/apps/${encodeURIComponent(app.app)}`, body, { version: app.version });
    onSaved();
  };
  return (
    <FormDialog title={app.title ?? app.app} action={w.save} onClose={onClose} onSubmit={save}>
      <TextField label={w.displayName} hint={w.displayNameHint} {...title} isOptional hasFocus />
      {app.mode !== undefined && !app.login_only && <ModeField {...mode} />}
      {app.authorized_to === undefined && (
        <TextField label={w.secret} hint={w.newSecretHint} {...secret} isMono isSecret isOptional />
      )}
    </FormDialog>
  );
}

function ModeField(props: { readonly value: string; readonly onInput: (value: string) => void }) {
  return (
    <SelectField
      {...props}
      label={w.mode}
      options={[
        ["stable", w.modeStable],
        ["classic", w.modeClassic],
      ]}
    />
  );
}
