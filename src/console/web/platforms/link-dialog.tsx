import type { LinkData, PlatformData } from "../../../api/v1-platforms-schema.ts";
import { post } from "../api.ts";
import { w as apps } from "../apps/words.ts";
import { relative } from "../format.ts";
import { Button } from "../parts/button.tsx";
import { Code } from "../parts/code.tsx";
import { Dialog, FormDialog } from "../parts/dialog.tsx";
import { openDialogAfter } from "../parts/dialogs.tsx";
import { CheckField, SelectField, TextField, useInput } from "../parts/field.tsx";
import { PLATFORMS } from "./platforms.tsx";
import { w } from "./words.ts";

/** Makes a link by which somebody authorizes the platform, and shows it; with `account`, only that one may. */
export function LinkDialog(props: {
  readonly of: PlatformData;
  readonly account: string;
  readonly onClose: () => void;
}) {
  const { platform, kind } = props.of;
  const isComponent = kind === "component";
  const authType = useInput("");
  const account = useInput(props.account);
  const isMobile = useInput(false);
  const isTest = useInput(false);
  const returnUrl = useInput("");
  const make = async () => {
    const options = isComponent
      ? {
          ...(authType.value === "" ? {} : { auth_type: Number(authType.value) }),
          ...(account.value.trim() === "" ? {} : { biz_app_id: account.value.trim() }),
          ...(isMobile.value ? { mobile: true } : {}),
        }
      : isTest.value
        ? { test: true }
        : {};
    const made = post<LinkData>(`${PLATFORMS}/${platform}/links`, {
      ...options,
      ...(returnUrl.value.trim() === "" ? {} : { return_url: returnUrl.value.trim() }),
    });
    await openDialogAfter(made, (link, close) => <MadeLink link={link} onClose={close} />);
  };
  return (
    <FormDialog title={w.newLink} action={w.newLink} onClose={props.onClose} onSubmit={make}>
      {isComponent ? (
        <>
          <SelectField
            label={apps.type}
            {...authType}
            options={[
              ["", w.both],
              ["1", w.official],
              ["2", w.miniprogram],
            ]}
          />
          <TextField label={w.bizAppId} {...account} isMono isOptional />
          <CheckField label={w.isMobile} {...isMobile} />
        </>
      ) : (
        <CheckField label={w.isTest} {...isTest} />
      )}
      <TextField label={w.returnUrl} {...returnUrl} placeholder="https://" isMono isOptional />
    </FormDialog>
  );
}

function MadeLink({ link, onClose }: { readonly link: LinkData; readonly onClose: () => void }) {
  return (
    <Dialog title={w.link} onClose={onClose} isWide>
      <div class="fields">
        <p>{w.linkHint(relative(link.expires_at))}</p>
        <Code label={w.link} text={link.url} />
      </div>
      <footer>
        <Button onClick={onClose}>{w.close}</Button>
      </footer>
    </Dialog>
  );
}
